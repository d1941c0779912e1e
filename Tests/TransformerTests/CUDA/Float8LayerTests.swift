import Foundation
import Tensors
import Testing
import Transformer

/// What products of codes stand on: their layers, the order of gated weights, the bound of what is gated.
@Suite struct Float8LayerTests {
    @Test func theFirstQuarterAndTheLastLayerStayAsTheyAre() {
        #expect(Float8Layers.range(layerCount: 18) == 5..<17)
        #expect(Float8Layers.range(layerCount: 28) == 7..<27)
        #expect(Float8Layers.range(layerCount: 24) == 6..<23)
        for count in 1...3 { #expect(Float8Layers.range(layerCount: count).count == max(0, count - 2)) }
    }

    /// A thread holds columns 2 q and 2 q + 1 of two blocks of eight, and stores four codes in a row.
    @Test func gatedOutputsComeOutInOrder() {
        for output in 0..<64 {
            let place = GatedCodeOrder.place(output)
            let (block, column) = (place / 8, place % 8)
            let thread = column / 2
            #expect(16 * (block / 2) + 4 * thread + 2 * (block % 2) + column % 2 == output)
        }
        #expect(Set((0..<64).map(GatedCodeOrder.place)) == Set(0..<64))
    }

    @Test func noGatedValueIsAboveItsBound() throws {
        let (rows, columns) = (48, 64)
        func matrix(_ name: String, scale: Float) throws -> WeightMatrix {
            let numbers = RandomNumbers(seed: 5, stream: name)
            let values = (0..<rows * columns).map { numbers.normal($0) * scale }
            let tensor = try HostTensor(dtype: .float32, shape: [rows, columns], data: values.withUnsafeBytes { Data($0) })
            return try WeightMatrix(tensor, name: name, rows: rows, columns: columns)
        }
        let (gate, up) = (try matrix("gate", scale: 0.3), try matrix("up", scale: 2))
        let bound = GateBound.scale(gate: gate, up: up)
        let (gates, ups) = (gate.floats, up.floats)
        func dot(_ a: ArraySlice<Float>, _ b: [Float]) -> Float { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
        var largest: Float = 0
        // Rows of gate and up themselves come closest to it.
        for row in 0..<rows {
            let range = row * columns..<(row + 1) * columns
            for h in [Array(gates[range]), Array(ups[range])] {
                let scale = bound * dot(h[...], h)
                for other in 0..<rows {
                    let range = other * columns..<(other + 1) * columns
                    largest = max(largest, abs(dot(gates[range], h) * dot(ups[range], h)) / scale)
                }
            }
        }
        #expect(largest <= 448 * 1.0001)
        #expect(largest > 448 / 100)
    }

    @Test func modelsThatCodesDoNotFitAreRefused() throws {
        var spec = try GoldenModel("gemma3-encoder").spec
        (spec.hiddenSize, spec.intermediateSize, spec.activation) = (640, 2048, .geluTanh)
        #expect(Float8Layers.obstacle(spec, isHopper: true) == nil)
        #expect(Float8Layers.obstacle(spec, isHopper: false)?.contains("9.0") == true)
        spec.intermediateSize = 2056
        #expect(Float8Layers.obstacle(spec, isHopper: true)?.contains("2056") == true)
        (spec.intermediateSize, spec.activation) = (2048, .geluErf)
        #expect(Float8Layers.obstacle(spec, isHopper: true) != nil)
    }
}
