import Foundation
import Operators
import Tensors
import Testing

/// What has no elements gives what has no elements.
@Suite struct EmptyTensorTests {
    private func empty(_ shape: [Int], _ dtype: DType = .float32) throws -> HostTensor { try HostTensor([], shape: shape, as: dtype) }

    @Test func norms() throws {
        #expect(try CPUReference.rmsNorm(empty([0, 8]), weight: .ramp([8])).shape == [0, 8])
        #expect(try CPUReference.rmsNorm(empty([3, 0]), weight: empty([0])).shape == [3, 0])
        let tables = try HostTensor.ramp([5, 4])
        let y = try CPUReference.rmsNormRoPE(empty([0, 5, 8]), weight: .ramp([8]), cosine: tables, sine: tables)
        #expect(y.shape == [0, 5, 8])
        let none = try CPUReference.rmsNormRoPE(
            empty([2, 0, 3, 4]), weight: .ramp([4]), cosine: empty([0, 4]), sine: empty([0, 4]), scope: .head)
        #expect(none.shape == [2, 0, 3, 4])
    }

    @Test func products() throws {
        #expect(try CPUReference.gemm(empty([0, 8]), .ramp([5, 8])).shape == [0, 5])
        #expect(try CPUReference.gemm(.ramp([3, 8]), empty([0, 8])).shape == [3, 0])
        #expect(try CPUReference.gatedMLP(empty([2, 0, 8]), gate: .ramp([6, 8]), up: .ramp([6, 8])).shape == [2, 0, 6])
        #expect(try CPUReference.fp8Gemm(empty([0, 16]), .ramp([5, 16])).shape == [0, 5])
    }

    @Test(arguments: QuantizationGranularity.allCases)
    func quantization(granularity: QuantizationGranularity) throws {
        let rows = try CPUReference.quantize(empty([0, 4]), granularity: granularity)
        #expect(rows.codes.shape == [0, 4])
        #expect(rows.scales.shape == [granularity == .tensor ? 1 : granularity == .row ? 0 : 4])
        #expect(try rows.scales.float32().allSatisfy { $0 == 1 })
        #expect(try CPUReference.dequantize(rows).shape == [0, 4])
        let columns = try CPUReference.quantize(empty([4, 0]), granularity: granularity)
        #expect(columns.codes.shape == [4, 0])
        #expect(try CPUReference.dequantize(columns).shape == [4, 0])
    }

    @Test func attention() throws {
        let (q, k) = (try empty([0, 4, 8]), try empty([0, 2, 8]))
        #expect(try CPUReference.attention(q, k, k).shape == [0, 4, 8])
        #expect(try CPUReference.attention(q, k, k, lengths: SequenceLengths([])).shape == [0, 4, 8])
        #expect(try CPUReference.attention(q, k, k, lengths: SequenceLengths([0, 0])).shape == [0, 4, 8])
        // Queries without any key.
        let o = try CPUReference.attention(.ramp([2, 4, 8]), k, k, lengths: SequenceLengths(queries: [2], keys: [0]))
        #expect(try o.float32().allSatisfy { $0 == 0 })
    }

    @Test func sampling() throws {
        #expect(try CPUReference.softmax(empty([0, 9])).shape == [0, 9])
        #expect(try CPUReference.softmax(empty([3, 0])).shape == [3, 0])
        #expect(try CPUReference.argmax(empty([0, 9])).shape == [0])
        #expect(try CPUReference.topK(empty([0, 9]), count: 4).indices.shape == [0, 4])
        #expect(try CPUReference.topK(.ramp([2, 9]), count: 0).values.shape == [2, 0])
    }
}
