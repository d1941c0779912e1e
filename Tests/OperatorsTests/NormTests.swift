import Foundation
import Operators
import Tensors
import Testing

@Suite struct NormTests {
    @Test(arguments: ["half", "brain", "float"])
    func wholeRows(name: String) throws {
        let y = try CPUReference.rmsNormRoPE(
            Goldens.tensor("rows.\(name).x"), weight: Goldens.tensor("rows.\(name).weight"), cosine: Goldens.tensor("rows.\(name).cos"),
            sine: Goldens.tensor("rows.\(name).sin"), headCount: 3)
        try expect(y, equals: Goldens.tensor("rows.\(name).y"))
    }

    @Test(arguments: [("qwen3", false), ("gemma3", true)])
    func headsOfTheModels(name: String, unitOffset: Bool) throws {
        func norm(_ unitOffset: Bool) throws -> HostTensor {
            try CPUReference.rmsNormRoPE(
                Goldens.tensor("heads.\(name).x"), weight: Goldens.tensor("heads.\(name).weight"),
                cosine: Goldens.tensor("heads.\(name).cos"), sine: Goldens.tensor("heads.\(name).sin"), scope: .head,
                unitOffset: unitOffset)
        }
        let golden = try Goldens.tensor("heads.\(name).y")
        try expect(norm(unitOffset), equals: golden, absolute: 3e-6)
        #expect(try !Comparison(norm(!unitOffset), golden, Tolerance(absolute: 0.1, relative: 0.1)).passes)
    }

    /// Half rotation pairs 0 with 2 and 1 with 3; the interleaved form would pair 0 with 1.
    @Test func theRotationIsTheHalfOne() throws {
        let ones = try HostTensor.constant(1, [4])
        // A quarter turn of every pair, of a row whose norm is 1.
        let x = try HostTensor([2, 0, 0, 0, 0, 2, 0, 0], shape: [1, 2, 4])
        let table = (cosine: try HostTensor.constant(0, [2, 4]), sine: try HostTensor.constant(1, [2, 4]))
        let y = try CPUReference.rmsNormRoPE(x, weight: ones, cosine: table.cosine, sine: table.sine, epsilon: 1e-30)
        #expect(try y.float32() == [0, 0, 2, 0, 0, 0, 0, 2])
        #expect(try y.float32() != [0, 2, 0, 0, -2, 0, 0, 0], "the interleaved form")
    }

    @Test func onlyTheFirstHalfOfTheTablesIsRead() throws {
        let x = try Goldens.tensor("rows.float.x")
        let weight = try Goldens.tensor("rows.float.weight")
        let (cosine, sine) = (try Goldens.tensor("rows.float.cos"), try Goldens.tensor("rows.float.sin"))
        func spoiled(_ table: HostTensor) throws -> HostTensor {
            let values = try table.float32().enumerated().map { $0 % 32 < 16 ? $1 : 99 }
            return try HostTensor(values, shape: table.shape)
        }
        let y = try CPUReference.rmsNormRoPE(x, weight: weight, cosine: cosine, sine: sine)
        let z = try CPUReference.rmsNormRoPE(x, weight: weight, cosine: spoiled(cosine), sine: spoiled(sine))
        #expect(y.bytes == z.bytes)
    }

    /// [S, D] and [1, S, 1, D] are the same.
    @Test func tablesOfFourDimensions() throws {
        let x = try Goldens.tensor("rows.float.x")
        let weight = try Goldens.tensor("rows.float.weight")
        let (cosine, sine) = (try Goldens.tensor("rows.float.cos"), try Goldens.tensor("rows.float.sin"))
        func wide(_ table: HostTensor) throws -> HostTensor {
            try HostTensor(dtype: .float32, shape: [1, table.shape[0], 1, table.shape[1]], data: table.data)
        }
        let y = try CPUReference.rmsNormRoPE(x, weight: weight, cosine: cosine, sine: sine)
        let z = try CPUReference.rmsNormRoPE(x, weight: weight, cosine: wide(cosine), sine: wide(sine))
        #expect(y.bytes == z.bytes)
    }

    @Test func positionsChooseTheRowsOfTheTables() throws {
        let x = try HostTensor.ramp([3, 8])
        let weight = try HostTensor.ramp([8])
        let (cosine, sine) = (try HostTensor.ramp([5, 4], step: 0.1), try HostTensor.ramp([5, 4], step: 0.07))
        func row(_ table: HostTensor, _ index: Int) throws -> HostTensor {
            try HostTensor(Array(table.float32()[index * 4..<index * 4 + 4]), shape: [1, 4])
        }
        let y = try CPUReference.rmsNormRoPE(x, weight: weight, cosine: cosine, sine: sine, positions: [4, 0, 4]).float32()
        for (token, position) in [4, 0, 4].enumerated() {
            let own = try HostTensor(Array(x.float32()[token * 8..<token * 8 + 8]), shape: [1, 8])
            let z = try CPUReference.rmsNormRoPE(own, weight: weight, cosine: row(cosine, position), sine: row(sine, position))
            #expect(try z.float32() == Array(y[token * 8..<token * 8 + 8]))
        }
        let error = errorOf {
            _ = try CPUReference.rmsNormRoPE(x, weight: weight, cosine: cosine, sine: sine, positions: [0, 5, 1])
        }
        #expect(error?.code == .argument)
        #expect(error?.tensor == "positions[1]")
    }

    /// What is no number stays in its row.
    @Test(arguments: [Float.nan, .infinity])
    func whatIsNoNumberStaysInItsRow(value: Float) throws {
        var values = try HostTensor.ramp([5, 33]).float32()
        values[2 * 33 + 7] = value
        let x = try HostTensor(values, shape: [5, 33])
        let y = try CPUReference.rmsNorm(x, weight: HostTensor.constant(1, [33])).float32()
        for (index, number) in y.enumerated() {
            #expect(number.isNaN == (value.isNaN ? index / 33 == 2 : index == 2 * 33 + 7), "element \(index)")
        }
    }

    @Test func theSumOfTwoIsNormalised() throws {
        let (x, residual) = (try HostTensor.ramp([3, 17], .bfloat16), try HostTensor.ramp([3, 17], .bfloat16, step: 0.11))
        let weight = try HostTensor.ramp([17], .bfloat16)
        let result = try CPUReference.rmsNormAdding(x, residual: residual, weight: weight)
        let sums = try zip(x.float32(), residual.float32()).map { $0 + $1 }
        let sum = try HostTensor(sums, shape: [3, 17], as: .bfloat16)
        #expect(result.sum.bytes == sum.bytes)
        #expect(try result.normalized.bytes == CPUReference.rmsNorm(sum, weight: weight).bytes)
    }
}
