import Foundation
import Operators
import Tensors
import Testing

@Suite struct SamplingTests {
    @Test func softmaxAndTopK() throws {
        let x = try Goldens.tensor("sampling.x")
        try expect(CPUReference.softmax(x, temperature: 0.7), equals: Goldens.tensor("sampling.softmax"))
        let top = try CPUReference.topK(x, count: 9)
        #expect(try top.values.bytes == Goldens.tensor("sampling.top").bytes)
        #expect(try top.indices.bytes == Goldens.tensor("sampling.indices").bytes)
        #expect(top.values.shape == [4, 9])
    }

    private func integers(_ tensor: HostTensor) -> [Int] {
        tensor.bytes.withUnsafeBytes { bytes in
            (0..<bytes.count / 4).map { Int(bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self)) }
        }
    }

    @Test func orderAmongEqualsAndNaN() throws {
        let x = try HostTensor([1, 3, 3, -.infinity, .nan, 3, .nan, .infinity], shape: [1, 8])
        #expect(try integers(CPUReference.topK(x, count: 8).indices) == [4, 6, 7, 1, 2, 5, 0, 3])
        #expect(try integers(CPUReference.argmax(x)) == [4])
        let zeros = try HostTensor([-0.0, 0.0, -0.0, 0.0], shape: [4])
        #expect(try integers(CPUReference.topK(zeros, count: 4).indices) == [1, 3, 0, 2])
        #expect(try CPUReference.argmax(zeros).shape == [])
    }

    @Test func rowsWithoutNumbers() throws {
        let x = try HostTensor([1, .nan, 2, 3, -.infinity, -.infinity, -.infinity, 0], shape: [4, 2])
        let y = try CPUReference.softmax(x).float32()
        #expect(y[0].isNaN && y[1].isNaN)
        #expect((y[2] + y[3] - 1).magnitude < 1e-6)
        #expect(y[4].isNaN && y[5].isNaN)
        #expect(Array(y[6...]) == [0, 1])
    }

    /// Pieces are whole vectors, none is empty, together they are the row, and no more of them than two for each multiprocessor.
    @Test(arguments: [(1, 1), (1, 4095), (1, 8192), (1, 151_936), (1, 262_144), (3, 100_001), (64, 151_936), (200, 151_936), (5000, 32_001)])
    func piecesCoverARow(rows: Int, columns: Int) throws {
        for count in [1, 50, 1024] where count <= columns {
            let x = TensorDescription(.float32, [rows, columns], on: .device(0))
            let problem = try RowProblem("topK", x, count: count, on: .device(0))
            let cut = RowCut(problem, count: count, multiprocessors: 132)
            #expect(cut.columns % 16 == 0)
            #expect((cut.pieces - 1) * cut.columns < columns && columns <= cut.pieces * cut.columns)
            #expect(cut.pieces == 1 || rows * cut.pieces <= 264)
            #expect(cut.pieces == 1 || cut.columns >= max(4096, 4 * count))
        }
    }

    @Test func softmaxNeedsATemperature() throws {
        let x = try HostTensor.ramp([2, 3])
        for temperature in [0, -1, Float.nan, .infinity] {
            #expect(errorOf { _ = try CPUReference.softmax(x, temperature: temperature) }?.code == .argument)
        }
        #expect(errorOf { _ = try CPUReference.topK(x, count: 4) }?.code == .argument)
        #expect(errorOf { _ = try CPUReference.topK(x, count: -1) }?.code == .argument)
        #expect(errorOf { _ = try CPUReference.argmax(HostTensor([], shape: [2, 0])) }?.code == .shape)
    }
}
