import Apus
import Tensors
import Tokenizers

/// Where vectors go, row by row: a matrix file or lines of JSON.
final class VectorSink {
    private var matrix: NPYRowWriter?
    private let lines: Output?

    init(path: String?, isNPY: Bool, dimensions: Int) throws {
        if isNPY, let path {
            matrix = try NPYRowWriter(path: path, columnCount: dimensions)
            lines = nil
        } else {
            matrix = nil
            lines = try Output.open(path)
        }
    }

    func append(_ vectors: EmbeddingMatrix) throws {
        if let lines {
            // On all processors: a float's shortest text costs more than computing it.
            for line in (0..<vectors.count).concurrentMap({ JSONText.array(vectors[$0]) }) { try lines.writeLine(line) }
            try lines.flush()
        }
        // Taken out and put back: an optional of a noncopyable type cannot be changed in place.
        guard var writer = matrix.take() else { return }
        try writer.append(vectors.values)
        matrix = consume writer
    }

    func finish() throws {
        try lines?.close()
        if let writer = matrix.take() { try writer.finish() }
    }

    /// Ends the output without the vectors that are missing. A file does not get its name; where it is instead is told, if it holds anything.
    func keepUnfinished() throws {
        if let path = try lines?.keepUnfinished() { Notice.write("the vectors ahead of the fault are in '\(path)'") }
        guard let writer = matrix.take(), writer.rowCount > 0 else { return }
        Notice.write("the vectors ahead of the fault are in '\(try writer.finishUnnamed())'")
    }
}
