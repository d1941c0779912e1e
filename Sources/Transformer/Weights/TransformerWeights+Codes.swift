import Foundation
import Tensors

extension WeightMatrix {
    /// The largest magnitude that an E4M3 code has.
    private static let largestCode: Float = 448

    /// The matrix as E4M3 codes times one factor a row make it, in fp32: the factor is the row's largest magnitude over 448, codes are rounded to
    /// nearest even. This is what the decode kernel's 8-bit form multiplies with.
    package func roundedToCodes() throws -> WeightMatrix {
        var values = floats
        values.withUnsafeMutableBufferPointer { buffer in
            // Safe: every iteration has rows of its own, and all of them end before the buffer does.
            nonisolated(unsafe) let buffer = buffer
            DispatchQueue.concurrentPerform(iterations: rows) { row in
                let elements = buffer[row * columns..<(row + 1) * columns].indices
                let largest = elements.reduce(Float(0)) { max($0, buffer[$1].magnitude) }
                let factor = largest > 0 ? largest / Self.largestCode : 1
                for index in elements { buffer[index] = Float(Float8E4M3(buffer[index] / factor)) * factor }
            }
        }
        let data = values.withUnsafeBytes { Data($0) }
        return try WeightMatrix(HostTensor(dtype: .float32, shape: [rows, columns], data: data), name: name, rows: rows, columns: columns)
    }
}

extension TransformerWeights {
    /// The same weights with the matrices of layers and head as E4M3 codes make them; embedding rows and norms stay as they are.
    package func roundedToCodes() throws -> TransformerWeights {
        try TransformerWeights(
            embedding: embedding,
            layers: layers.map { layer in
                Layer(
                    attentionNorm: layer.attentionNorm, query: try layer.query.roundedToCodes(), key: try layer.key.roundedToCodes(),
                    value: try layer.value.roundedToCodes(), queryNorm: layer.queryNorm, keyNorm: layer.keyNorm,
                    output: try layer.output.roundedToCodes(), attentionOutputNorm: layer.attentionOutputNorm,
                    feedForwardNorm: layer.feedForwardNorm, gate: try layer.gate.roundedToCodes(), up: try layer.up.roundedToCodes(),
                    down: try layer.down.roundedToCodes(), feedForwardOutputNorm: layer.feedForwardOutputNorm)
            }, finalNorm: finalNorm, head: head?.roundedToCodes(), byteCount: byteCount)
    }

    private init(embedding: WeightMatrix, layers: [Layer], finalNorm: WeightMatrix, head: WeightMatrix?, byteCount: Int) {
        self.embedding = embedding
        self.layers = layers
        self.finalNorm = finalNorm
        self.head = head
        self.byteCount = byteCount
    }
}
