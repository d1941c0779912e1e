package import Apus
import CUDA
import Foundation
import Operators
package import Transformer

/// Looks at what a GPU's executor does with inputs that it must refuse, and with more than fits: each check is 1 where it does as it should.
package struct DeviceFaultVerifier {
    /// Bytes that are left free for the batch that does not fit, and for the smaller one behind it.
    static let leftByteCount = 128 << 20

    private let executor: CUDAExecutor
    private let head: EncoderHead
    private let seed: UInt64

    package init(model: LoadedModel, device: CUDAExecutor, seed: UInt64) throws {
        executor = device
        head = try model.encoderDescription().head
        self.seed = seed
    }

    package func run(report: (ModelVerifier.Check) throws -> Void) throws {
        func check(_ name: String, _ passes: Bool) throws {
            try report(.init(name: name, value: passes ? 1 : 0, bound: 1, isLowerBound: true))
        }
        try check("a text of no tokens is refused", code(of: [[1, 2], []]) == .invalidToken)
        try check("an id behind the vocabulary is refused", code(of: [[Int32(executor.spec.vocabularySize)]]) == .invalidToken)
        try check("a text behind the last position is refused", code(of: [randomIDs(executor.spec.maximumPositions + 1)]) == .contextExceeded)
        // While the executor has little memory for rows.
        try checkMemory(check)
        try check("100,000 texts of one token are right", manyTexts())
    }

    private func code(of sequences: [[Int32]]) -> TransformerError.Code? {
        do {
            _ = try executor.encode(TokenBatch(sequences), head: head)
            return nil
        } catch { return (error as? TransformerError)?.code }
    }

    private func manyTexts() throws -> Bool {
        let ids = randomIDs(100_000)
        let vectors = try executor.encode(TokenBatch(ids.map { [$0] }), head: head)
        let width = vectors.count / ids.count
        return try [0, 1, 49_999, 65_535, 65_536, 99_999].allSatisfy { index in
            let alone = try executor.encode(TokenBatch([[ids[index]]]), head: head)
            return VectorComparison.cosine(alone, vectors[index * width..<(index + 1) * width]) >= DeviceVerifier.companyBound
        }
    }

    /// Takes all of the GPU's memory but a little, asks for a batch that needs more, and for a smaller one.
    private func checkMemory(_ check: (String, Bool) throws -> Void) throws {
        let small = TokenBatch([randomIDs(64), randomIDs(7)])
        let expected = try executor.encode(small, head: head)
        let context = executor.context.context
        let held = try DeviceBuffer(byteCount: max(0, context.memory().free - Self.leftByteCount), in: context)
        let length = min(4096, executor.spec.maximumPositions)
        let large = TokenBatch([[Int32]](repeating: randomIDs(length), count: max(1, executor.groupRows / length)))
        var fault: CUDAError?
        do { _ = try executor.encode(large, head: head) } catch {
            fault = error as? CUDAError ?? (error as? OperatorError)?.cuda
        }
        try check("a batch beyond the free memory is refused", fault?.code == .outOfMemory)
        let message = fault?.message ?? ""
        try check("the refusal names need and free bytes", message.contains("cannot give") && message.contains("are free"))
        let behind = try executor.encode(small, head: head)
        try check("the next smaller batch runs as before", behind == expected)
        extendLifetime(held)
    }

    private func extendLifetime(_ buffer: borrowing DeviceBuffer) {}

    private func randomIDs(_ count: Int) -> [Int32] {
        let numbers = RandomNumbers(seed: seed, stream: "faults \(count)")
        return (0..<count).map { Int32((abs(numbers.normal($0)) * 1e6).truncatingRemainder(dividingBy: Float(executor.spec.vocabularySize))) }
    }
}
