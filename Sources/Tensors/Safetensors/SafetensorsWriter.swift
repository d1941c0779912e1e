public import Foundation

/// Writes one safetensors file, tensor by tensor, without holding it in memory.
///
/// All tensors are declared first; then their bytes come in any order and in pieces of any size; then ``finish()`` puts the file in its place.
/// Until then the path keeps what it had: the bytes go to a temporary file beside it, which is removed if the writer is dropped unfinished.
///
/// Larger elements lie before smaller ones, and otherwise tensors lie in the order in which they were declared, behind a header that is padded
/// to eight bytes: so every tensor is aligned.
public struct SafetensorsWriter: ~Copyable {
    private var file: PendingFile
    private let header: [UInt8]
    private var places: [String: Place]

    private struct Place {
        let layout: TensorLayout
        let offset: Int
        var written = 0
    }

    /// Declares the file. Throws where a name stands twice, the header grows beyond what readers allow, or the file cannot be created.
    public init(path: String, tensors: [TensorLayout], metadata: [String: String] = [:]) throws(TensorError) {
        var places: [String: Place] = [:]
        places.reserveCapacity(tensors.count)
        var entries = ""
        if !metadata.isEmpty {
            let members = metadata.sorted { $0.key < $1.key }.map { JSONText.quote($0.key) + ":" + JSONText.quote($0.value) }
            entries += "\"__metadata__\":{" + members.joined(separator: ",") + "}"
        }
        var end = 0
        // The sort must keep the order of equals, which `sort` does not promise; the index breaks the ties.
        let ordered = tensors.enumerated().sorted { ($1.element.dtype.byteCount, $0.offset) < ($0.element.dtype.byteCount, $1.offset) }
        for tensor in ordered.map(\.element) {
            let (next, overflow) = end.addingReportingOverflow(tensor.byteCount)
            guard !overflow else { throw TensorError(.shape, file: path, "the tensors are together larger than a file can be") }
            guard places.updateValue(Place(layout: tensor, offset: end), forKey: tensor.name) == nil else {
                throw TensorError(.duplicateName, file: path, "the tensor \(TensorError.quote(tensor.name)) is declared twice")
            }
            if !entries.isEmpty { entries += "," }
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            entries += "\(JSONText.quote(tensor.name)):{\"dtype\":\"\(tensor.dtype.safetensorsName)\",\"shape\":[\(shape)],"
            entries += "\"data_offsets\":[\(end),\(next)]}"
            end = next
        }
        var json = Array("{\(entries)}".utf8)
        json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8))
        guard json.count <= SafetensorsHeader.maximumByteCount else {
            throw TensorError(.headerLength, file: path, "the header would have \(json.count) bytes, more than readers allow")
        }
        let length = UInt64(json.count)
        let header = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + json
        var file = try PendingFile(path)
        try file.write(Data(header), at: 0)
        self.header = header
        self.places = places
        self.file = file
    }

    /// Appends bytes to the tensor called `name`: row-major, little-endian. Throws ``TensorError/Code/incomplete`` where that is more than its
    /// shape holds.
    public mutating func append(_ bytes: Data, to name: String) throws(TensorError) {
        guard let place = places[name] else {
            throw TensorError(.missingTensor, file: file.path, "the tensor \(TensorError.quote(name)) was not declared")
        }
        guard bytes.count <= place.layout.byteCount - place.written else {
            throw TensorError(
                .incomplete, file: file.path,
                "tensor \(TensorError.quote(name)) has \(place.layout.byteCount) bytes; \(place.written) came and \(bytes.count) more do not fit"
            )
        }
        try file.write(bytes, at: header.count + place.offset + place.written)
        places[name]?.written += bytes.count
    }

    /// Writes a whole tensor, whose type and shape must be those declared for `name`.
    public mutating func write(_ tensor: HostTensor, to name: String) throws(TensorError) {
        if let layout = places[name]?.layout, layout.dtype != tensor.dtype || layout.shape != tensor.shape {
            throw TensorError(
                .shape, file: file.path,
                "tensor \(TensorError.quote(name)) was declared as \(layout.dtype) \(layout.shape), given is \(tensor.dtype) \(tensor.shape)"
            )
        }
        try append(tensor.data, to: name)
    }

    /// Puts the file in its place. Throws ``TensorError/Code/incomplete``, and leaves no file, where bytes of a tensor have not come.
    public consuming func finish() throws(TensorError) {
        for name in places.keys.sorted() {
            if let place = places[name], place.written < place.layout.byteCount {
                throw TensorError(
                    .incomplete, file: file.path,
                    "tensor \(TensorError.quote(name)) has \(place.layout.byteCount) bytes, only \(place.written) were written")
            }
        }
        try file.commit()
    }

    /// Writes these tensors to one file.
    public static func write(
        _ tensors: [(name: String, tensor: HostTensor)], metadata: [String: String] = [:], to path: String
    ) throws(TensorError) {
        var layouts: [TensorLayout] = []
        for (name, tensor) in tensors { layouts.append(try TensorLayout(name: name, dtype: tensor.dtype, shape: tensor.shape)) }
        var writer = try SafetensorsWriter(path: path, tensors: layouts, metadata: metadata)
        for (name, tensor) in tensors { try writer.write(tensor, to: name) }
        try writer.finish()
    }
}

/// Strings as JSON text.
enum JSONText {
    static func quote(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "\u{0}"..<"\u{20}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
