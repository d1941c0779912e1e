import Apus
import Dispatch
import Synchronization
import Tensors

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
            for line in Self.format(vectors) { try lines.writeLine(line) }
            try lines.flush()
        }
        // Taken out and put back: an optional of a noncopyable type cannot be changed in place.
        guard var writer = matrix.take() else { return }
        try writer.append(vectors.values)
        matrix = consume writer
    }

    /// The rows as JSON, on all cores: a float's shortest text costs more than computing it.
    private static func format(_ vectors: EmbeddingMatrix) -> [String] {
        let parts = 32
        let texts = Mutex([[String]](repeating: [], count: parts))
        DispatchQueue.concurrentPerform(iterations: parts) { part in
            let rows = vectors.count * part / parts..<vectors.count * (part + 1) / parts
            let lines = rows.map { JSONText.array(vectors[$0]) }
            texts.withLock { $0[part] = lines }
        }
        return texts.withLock { $0.flatMap { $0 } }
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
