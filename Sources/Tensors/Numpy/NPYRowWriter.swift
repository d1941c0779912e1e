import Foundation

/// Writes a float32 matrix row by row, without holding it and without knowing beforehand how many rows will come.
///
/// The file is put in its place by ``finish()``; dropped before that, the writer leaves nothing.
public struct NPYRowWriter: ~Copyable {
    /// Digits for which the header keeps room.
    private static let reservedDigits = 20

    /// The length of every row.
    public let columnCount: Int
    public private(set) var rowCount = 0
    private var file: PendingFile
    private let headerByteCount: Int

    /// Throws ``TensorError/Code/unwritable`` where the file cannot be created.
    public init(path: String, columnCount: Int) throws(TensorError) {
        guard columnCount >= 0 else { throw TensorError(.shape, file: path, "a row cannot have \(columnCount) columns") }
        let header = try NPYHeader.text(shape: [0, columnCount], reservedDigits: Self.reservedDigits)
        var file = try PendingFile(path)
        try file.write(Data(header), at: 0)
        self.columnCount = columnCount
        headerByteCount = header.count
        self.file = file
    }

    /// Appends one row or several, one behind the other.
    public mutating func append(_ values: [Float]) throws(TensorError) {
        guard columnCount > 0, values.count % columnCount == 0, let bytes = HostTensor.encode(values, as: .float32) else {
            throw TensorError(.shape, file: file.path, "\(values.count) values are no whole number of rows of \(columnCount)")
        }
        try file.write(bytes, at: headerByteCount + rowCount * columnCount * 4)
        rowCount += values.count / columnCount
    }

    /// Enters the number of rows and puts the file in its place.
    public consuming func finish() throws(TensorError) {
        try writeHeader()
        try file.commit()
    }

    /// Enters the number of rows but leaves the name free, for a matrix some rows of which will never come.
    ///
    /// - Returns: the path where the file stays.
    public consuming func finishUnnamed() throws(TensorError) -> String {
        try writeHeader()
        return try file.keep()
    }

    private mutating func writeHeader() throws(TensorError) {
        let header = try NPYHeader.text(shape: [rowCount, columnCount], reservedDigits: Self.reservedDigits)
        try file.write(Data(header), at: 0)
    }
}
