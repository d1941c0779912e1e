package import CUDA
import Tensors

/// The forms of Kernels/Operators/AttentionHopper.cu.
package struct HopperAttentionVariant: KernelVariant {
    package static let path = "Operators/AttentionHopper.cu"
    package let entry = "apus_attention_hopper"

    var dtype: DType
    var head: Int
    var group: Int
    /// Warpgroups that multiply, 64 rows each.
    var consumers = 2
    /// Keys of a block.
    package private(set) var keys = 128
    var stages = 2
    var queryBuffers = 1
    /// The result leaves in whole rows through shared memory, not from registers.
    var hasStaging = true
    /// The queries move into registers, which frees their memory early.
    var hasQueryInRegisters = false
    /// Blocks of the grid that share a multiprocessor.
    var residents = 1
    /// One product at a time in a warpgroup: scores and probabilities share registers.
    var isSerial = false
    /// The softmax of a block ends before the product of the values before it is waited for.
    var isOrdered = true
    /// The result is larger than L2, and its lines are the first to leave it.
    var isStreaming = false
    /// Blocks that share a tile of as many times the rows, and read its keys and values together.
    var cluster = 1

    /// The choice for a shape, by measurements on an H200.
    ///
    /// - Parameters:
    ///   - longest: Keys of the longest sequence.
    ///   - isAlone: Without a look at the lengths of the others.
    init(_ problem: AttentionProblem, longest: Int, isAlone: Bool = false) {
        dtype = problem.dtype
        head = problem.head
        group = problem.group
        isStreaming = problem.queryTokens * problem.queryHeads * problem.head * problem.dtype.byteCount > 48 << 20
        switch problem.head {
        case 256:
            // Short sequences: finer blocks at the diagonal, and less to wait for before the first product.
            let seen = min(longest, problem.mask.reach.left + 1)
            keys = seen >= 2048 ? 80 : longest <= 128 ? 32 : 64
            if keys == 32 { stages = 3 }
            hasStaging = keys != 80
            isOrdered = keys != 80
        case 64:
            // A group that does not divide 192 rows would waste some of them, as short sequences do.
            if longest >= 2048, 192 % problem.group == 0 {
                consumers = 3
                queryBuffers = 2
            } else {
                // Two blocks of two warpgroups a multiprocessor: four of them fill each other's gaps.
                residents = 2
                isSerial = true
                keys = 64
                stages = 3
                queryBuffers = 2
            }
        default:
            keys = 64
            queryBuffers = 2
            if longest > 256 {
                // Three warpgroups fill the tensor cores better than two; their registers hold no queries.
                consumers = 3
                stages = 3
            } else {
                hasQueryInRegisters = true
                stages = 4
                if longest <= 128, !isAlone, problem.fills(rows / problem.group) {
                    cluster = 2
                    stages = 3
                    queryBuffers = 3
                }
            }
        }
    }

    /// The choices for the lengths of a problem, with the numbers of keys that each is for: one for all by the longest, or for each sequence by its own
    /// length, so that the order of its sums does not depend on the others.
    package static func choices(_ problem: AttentionProblem, isInvariant: Bool) -> [(variant: HopperAttentionVariant, keys: Range<Int>)] {
        guard isInvariant else { return [(HopperAttentionVariant(problem, longest: problem.lengths.keys.max() ?? 0), 0..<Int.max)] }
        var choices: [(variant: HopperAttentionVariant, keys: Range<Int>)] = []
        for (start, end) in zip(bounds, bounds.dropFirst() + [Int.max]) where problem.lengths.keys.contains(where: { (start..<end).contains($0) }) {
            let variant = HopperAttentionVariant(problem, longest: start, isAlone: true)
            if let last = choices.last, last.variant == variant, last.keys.upperBound == start {
                choices[choices.count - 1].keys = last.keys.lowerBound..<end
            } else {
                choices.append((variant, start..<end))
            }
        }
        return choices
    }

    /// Numbers of keys at which the choice may change.
    static let bounds = [0, 129, 257, 1025, 2048]

    /// Of a block.
    var rows: Int { 64 * consumers }
    var tokensPerBlock: Int { rows / group }
    package var tokensPerTile: Int { cluster * tokensPerBlock }
    package var threadCount: Int { 128 * (1 + consumers) }

    package var sharedByteCount: Int {
        let queries = queryBuffers * rows * head * 2
        return 1024 + queries + 2 * stages * keys * head * 2 + (hasStaging ? consumers * 8192 : 0) + 512
    }

    package var constants: KernelConstants {
        KernelConstants([
            "ATTENTION_HEAD": head, "ATTENTION_GROUP": group, "ATTENTION_CONSUMERS": consumers, "ATTENTION_KEYS": keys,
            "ATTENTION_STAGES": stages, "ATTENTION_QUERY_BUFFERS": queryBuffers, "ATTENTION_TYPE": dtype.kernelNumber,
            "ATTENTION_STAGING": hasStaging ? 1 : 0, "ATTENTION_SERIAL": isSerial ? 1 : 0,
            "ATTENTION_QUERY_REGISTERS": hasQueryInRegisters ? 1 : 0, "ATTENTION_ORDERED": isOrdered ? 1 : 0, "ATTENTION_STREAM": isStreaming ? 1 : 0,
            "ATTENTION_BLOCKS": residents, "ATTENTION_CLUSTER": cluster,
        ])
    }
}

extension AttentionProblem {
    /// Whether most sequences need pairs of tiles of so many tokens: the second tile of the last pair is missing in few.
    fileprivate func fills(_ tokens: Int) -> Bool {
        let single = lengths.queries.count { (1...tokens).contains($0 % (2 * tokens)) }
        return 8 * single <= lengths.queries.count
    }
}

/// The forms of Kernels/Operators/AttentionGeneric.cu.
struct GenericAttentionVariant: KernelVariant {
    static let path = "Operators/AttentionGeneric.cu"
    let entry = "apus_attention_generic"

    var dtype: DType
    var head: Int
    var group: Int
    let keys = 64

    init(_ problem: AttentionProblem) {
        dtype = problem.dtype
        head = problem.head
        group = problem.group
    }

    var tokensPerTile: Int { 64 / group }
    var threadCount: Int { 128 }
    var sharedByteCount: Int { (64 + 2 * keys) * head * 2 }

    var constants: KernelConstants {
        KernelConstants([
            "ATTENTION_HEAD": head, "ATTENTION_GROUP": group, "ATTENTION_KEYS": keys, "ATTENTION_TYPE": dtype.kernelNumber,
        ])
    }
}
