import Synchronization
public import Tensors

/// What a tuned choice was made for: an operator with its types and sizes.
public struct TuningKey: Sendable, Hashable, CustomStringConvertible {
    /// "gemm", "gatedMLP", "fp8Gemm", "fp8GemmFast" (see ``Float8Accumulation``), "rmsNorm" or "rmsNormRoPE".
    public let operation: String
    public let inputType: DType
    public let outputType: DType
    /// Products: rows, columns of the result, inner size. Norms: elements normalised together, and the head size (0 without rotation).
    public let sizes: [Int]

    public init(operation: String, inputType: DType, outputType: DType, sizes: [Int]) {
        self.operation = operation
        self.inputType = inputType
        self.outputType = outputType
        self.sizes = sizes
    }

    public var description: String {
        "\(operation) \(sizes.map(String.init).joined(separator: "x")) \(inputType) to \(outputType)"
    }
}

/// Choices of block sizes and the like that a tuner found, by shape, which the operators of a context use in place of their own.
///
/// They change the speed of an operator and not its result. A choice that does not fit the arguments of a call (memory, alignment) is passed over.
public final class TuningTable: Sendable {
    private let choices = Mutex<[TuningKey: [String: Int]]>([:])
    private let count = Atomic<Int>(0)

    public init() {}

    /// Notes a choice. Throws for one that is not legal for the key: see ``OperatorTuning/isLegal(_:for:)``.
    public func set(_ values: [String: Int], for key: TuningKey) throws(OperatorError) {
        guard OperatorTuning.isLegal(values, for: key) else {
            let shown = values.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            throw .argument("tune", "the choice for \(key)", expected: "a legal one", actual: shown)
        }
        choices.withLock { $0[key] = values }
        count.store(choices.withLock(\.count), ordering: .releasing)
    }

    public subscript(key: TuningKey) -> [String: Int]? { choices.withLock { $0[key] } }

    public var keys: [TuningKey] { choices.withLock { $0.keys.sorted { $0.description < $1.description } } }

    public func removeAll() {
        choices.withLock { $0.removeAll() }
        count.store(0, ordering: .releasing)
    }

    /// The choice for a call; costs next to nothing while the table is empty.
    func choice(_ key: @autoclosure () -> TuningKey) -> [String: Int]? {
        guard count.load(ordering: .acquiring) > 0 else { return nil }
        return self[key()]
    }
}

/// What there is to choose.
public enum OperatorTuning {
    /// One named choice and the values that are worth trying.
    public struct Dimension: Sendable, Hashable {
        public let name: String
        public let values: [Int]

        init(_ name: String, _ values: [Int]) {
            self.name = name
            self.values = values
        }
    }

    /// The choices of an operator; empty where there is nothing to choose.
    public static func space(_ operation: String) -> [Dimension] {
        switch operation {
        case "gemm", "gatedMLP", "fp8Gemm", "fp8GemmFast": GEMMConfiguration.space
        case "rmsNorm", "rmsNormRoPE": NormConfiguration.space
        default: []
        }
    }

    /// True when the kernel can be compiled with these values for these sizes and types, on a GPU with Hopper's shared memory. Every name of the space must be there,
    /// and no other.
    public static func isLegal(_ values: [String: Int], for key: TuningKey) -> Bool {
        let space = space(key.operation)
        guard !space.isEmpty, Set(values.keys) == Set(space.map(\.name)) else { return false }
        switch key.operation {
        case "rmsNorm", "rmsNormRoPE": return NormConfiguration(values)?.isLegal(key) ?? false
        default: return GEMMConfiguration(values)?.isLegal(key) ?? false
        }
    }

    /// The legal combinations that are worth a try, in the order of the space.
    public static func configurations(for key: TuningKey) -> [[String: Int]] {
        var combinations: [[String: Int]] = [[:]]
        for dimension in space(key.operation) {
            combinations = combinations.flatMap { partial in
                dimension.values.map { value in partial.merging([dimension.name: value]) { $1 } }
            }
        }
        return combinations.filter { isLegal($0, for: key) && !isDominated($0, for: key) }
    }

    /// A shorter ring than the memory allows is never better.
    private static func isDominated(_ values: [String: Int], for key: TuningKey) -> Bool {
        guard let stages = values["stages"], let most = space(key.operation).first(where: { $0.name == "stages" })?.values.max(), stages < most
        else { return false }
        return isLegal(values.merging(["stages": stages + 1]) { $1 }, for: key)
    }

    /// What the operators choose by themselves.
    public static func standard(for key: TuningKey) -> [String: Int]? {
        switch key.operation {
        case "gemm", "gatedMLP", "fp8Gemm", "fp8GemmFast":
            guard key.sizes.count == 3 else { return nil }
            return GEMMConfiguration.best(
                input: key.inputType, m: key.sizes[0], n: key.sizes[1], k: key.sizes[2], isGated: key.operation == "gatedMLP",
                promotes: key.operation != "fp8GemmFast"
            ).values
        case "rmsNorm", "rmsNormRoPE":
            guard key.sizes.count == 2, key.sizes[0] > 0 else { return nil }
            return NormConfiguration.best(pairs: NormConfiguration.pairs(key)).values
        default: return nil
        }
    }
}
