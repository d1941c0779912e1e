import Foundation
import Operators
import Tensors
import Testing

/// The tensors of Goldens/operators.safetensors.
enum Goldens {
    private static let file = Result {
        let folder = try #require(Bundle.module.url(forResource: "Goldens", withExtension: nil))
        return try SafetensorsFile(contentsOf: folder.appendingPathComponent("operators.safetensors").path)
    }

    static func tensor(_ name: String) throws -> HostTensor { try file.get().tensor(name) }

    /// Codes, which are stored as bytes.
    static func codes(_ name: String, _ dtype: DType) throws -> HostTensor {
        let tensor = try tensor(name)
        return try HostTensor(dtype: dtype, shape: tensor.shape, data: tensor.data)
    }
}

/// Expects a result to be the golden, up to one rounding of its type.
func expect(
    _ actual: HostTensor, equals expected: HostTensor, absolute: Double = 1e-6, sourceLocation: SourceLocation = #_sourceLocation
) throws {
    #expect(actual.dtype == expected.dtype, sourceLocation: sourceLocation)
    // The last bit may fall to the other side, since the sums run in another order.
    let relative =
        switch expected.dtype {
        case .bfloat16: 0x1p-7
        case .float16: 0x1p-10
        default: 2e-6
        }
    let comparison = try Comparison(actual, expected, Tolerance(absolute: absolute, relative: relative))
    #expect(
        comparison.passes, "\(comparison.violationCount) of \(comparison.count), first \(String(describing: comparison.firstBad))",
        sourceLocation: sourceLocation)
    #expect(comparison.count > 0, sourceLocation: sourceLocation)
}

/// The error that a piece of work throws.
func errorOf(_ work: () throws -> Void) -> OperatorError? {
    do {
        try work()
        return nil
    } catch {
        return error as? OperatorError
    }
}

extension HostTensor {
    /// Numbers that differ from each other, in any shape.
    static func ramp(_ shape: [Int], _ dtype: DType = .float32, step: Float = 0.37) throws -> HostTensor {
        let count = shape.reduce(1, *)
        return try HostTensor((0..<count).map { (Float($0 % 29) - 14) * step + Float($0 / 29 % 7) * 0.01 }, shape: shape, as: dtype)
    }

    static func constant(_ value: Float, _ shape: [Int], _ dtype: DType = .float32) throws -> HostTensor {
        try HostTensor([Float](repeating: value, count: shape.reduce(1, *)), shape: shape, as: dtype)
    }

    /// The bits of each element, for comparisons in which every bit counts.
    var bytes: [UInt8] { Array(data) }
}
