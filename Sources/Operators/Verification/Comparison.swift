public import Tensors

/// How far a result may be from the reference: |a - b| <= absolute + relative * |b|, with b the reference.
public struct Tolerance: Sendable, Hashable, CustomStringConvertible {
    public var absolute: Double
    public var relative: Double

    public init(absolute: Double, relative: Double) {
        self.absolute = absolute
        self.relative = relative
    }

    /// Every element must be the same number.
    public static let exact = Tolerance(absolute: 0, relative: 0)

    public func accepts(_ actual: Double, _ expected: Double) -> Bool {
        if actual.isNaN || expected.isNaN { return actual.isNaN && expected.isNaN }
        if actual == expected { return true }
        guard actual.isFinite, expected.isFinite else { return false }
        return (actual - expected).magnitude <= absolute + relative * expected.magnitude
    }

    public var description: String { self == .exact ? "exact" : "\(absolute) + \(relative) |b|" }
}

/// A result held against its reference.
///
/// The one rule: an element passes where |a - b| <= absolute + relative * |b|. A NaN passes where the reference has one, and nowhere else;
/// so does an infinity, by its sign. Errors are measured over elements that are finite on both sides, relative ones where b is not 0.
public struct Comparison: Sendable {
    /// The first element that does not pass.
    public struct Element: Sendable, Hashable, CustomStringConvertible {
        /// One index for each dimension.
        public let index: [Int]
        public let actual: Double
        public let expected: Double

        public var description: String { "\(index): \(Self.text(actual)), expected \(Self.text(expected))" }

        /// A NaN without its sign and payload.
        private static func text(_ value: Double) -> String { value.isNaN ? "nan" : "\(value)" }
    }

    public let tolerance: Tolerance
    public private(set) var count = 0
    public private(set) var violationCount = 0
    public private(set) var maximumAbsoluteError = 0.0
    public private(set) var meanAbsoluteError = 0.0
    public private(set) var maximumRelativeError = 0.0
    public private(set) var meanRelativeError = 0.0
    public private(set) var firstBad: Element?

    public var passes: Bool { violationCount == 0 }

    /// Throws ``OperatorError/Code/shape`` where the shapes differ.
    public init(_ actual: HostTensor, _ expected: HostTensor, _ tolerance: Tolerance) throws(OperatorError) {
        guard actual.shape == expected.shape else {
            throw .shape("compare", "the result", expected: "\(expected.shape)", actual: actual.shape)
        }
        try self.init(actual, values: Self.numbers(expected), tolerance)
    }

    /// Against numbers that were not rounded to the result's type.
    init(_ actual: HostTensor, values expected: [Double], _ tolerance: Tolerance) throws(OperatorError) {
        let values = try Self.numbers(actual)
        guard values.count == expected.count else {
            throw .shape("compare", "the result", expected: "\(expected.count) elements", actual: actual.shape)
        }
        self.tolerance = tolerance
        count = values.count
        var sums = (absolute: 0.0, relative: 0.0)
        var counts = (absolute: 0, relative: 0)
        for (position, (a, b)) in zip(values, expected).enumerated() {
            if !tolerance.accepts(a, b) {
                violationCount += 1
                if firstBad == nil { firstBad = Element(index: Self.index(position, actual.shape), actual: a, expected: b) }
            }
            guard a.isFinite, b.isFinite else { continue }
            let error = (a - b).magnitude
            maximumAbsoluteError = max(maximumAbsoluteError, error)
            sums.absolute += error
            counts.absolute += 1
            guard b != 0 else { continue }
            maximumRelativeError = max(maximumRelativeError, error / b.magnitude)
            sums.relative += error / b.magnitude
            counts.relative += 1
        }
        meanAbsoluteError = sums.absolute / Double(max(1, counts.absolute))
        meanRelativeError = sums.relative / Double(max(1, counts.relative))
    }

    private static func index(_ position: Int, _ shape: [Int]) -> [Int] {
        var rest = position
        var index: [Int] = []
        for size in shape.reversed() {
            index.append(rest % max(1, size))
            rest /= max(1, size)
        }
        return index.reversed()
    }

    /// Floats as they are; int32 and bytes as whole numbers.
    private static func numbers(_ tensor: HostTensor) throws(OperatorError) -> [Double] {
        switch tensor.dtype {
        case .int32:
            let bytes = tensor.byteArray
            return stride(from: 0, to: bytes.count, by: 4).map { start in
                let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << (8 * UInt32($1)) }
                return Double(Int32(bitPattern: bits))
            }
        case .uint8: return tensor.byteArray.map(Double.init)
        default: return try CPUReference.doubles("compare", tensor)
        }
    }
}
