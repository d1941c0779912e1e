import CCPUKernels

/// What the keys and values of a sequence lie in.
public enum KeyValueCacheFormat: String, Sendable, CaseIterable {
    case bfloat16 = "bf16"
    /// E4M3 codes and a power of two for each position's head: about half the bytes, and a loss that `apus verify` states. A CPU rounds its keys and
    /// values alike and keeps them in fp32, which saves nothing there.
    case float8 = "fp8"

    /// Bytes of one position in one layer on a GPU.
    package func byteCount(_ spec: TransformerSpec) -> Int {
        switch self {
        case .bfloat16: 2 * spec.keyValueHeads * spec.headDimension * 2
        case .float8: 2 * spec.keyValueHeads * (spec.headDimension + 1)
        }
    }
}

/// One row of an fp8 cache: the keys or the values of one position and one head.
package struct CodedCacheRow: Equatable {
    /// [D] E4M3
    package let codes: [UInt8]
    /// Of the factor 2^(exponent - 127).
    package let exponent: UInt8

    package init(codes: [UInt8], exponent: UInt8) {
        self.codes = codes
        self.exponent = exponent
    }

    /// By the rule of `apus_cache_encode`, which all executors follow.
    package init(_ values: [Float]) {
        var codes = [UInt8](repeating: 0, count: values.count)
        var exponent: UInt8 = 0
        apus_cache_encode(values.count, values, &codes, &exponent)
        self.init(codes: codes, exponent: exponent)
    }

    /// [D], what the row reads as.
    package var values: [Float] {
        var values = [Float](repeating: 0, count: codes.count)
        apus_cache_decode(codes.count, codes, exponent, &values)
        return values
    }
}
