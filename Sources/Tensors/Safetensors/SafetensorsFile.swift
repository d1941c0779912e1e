public import Foundation

/// A safetensors file, memory-mapped and checked.
///
/// Opening reads the header and no tensor. Everything the header says is checked there: a file that opens has every tensor whole, inside the
/// file, disjoint from the others, and of the size that its type and shape need. Files whose tensors leave holes, overlap or are followed by
/// other bytes are refused, as the reference implementation does; so are duplicate names. Tensors need not be aligned: see
/// ``TensorDescriptor/isAligned``. Memory: at most 24 times the header's size.
public struct SafetensorsFile: Sendable {
    /// The path that the file was opened by.
    public let path: String
    /// The whole file. Backed by the mapping, which lives as long as this or any slice of it does.
    public let data: Data
    /// The free text that the writer left in `__metadata__`.
    public let metadata: [String: String]
    public let tensors: [String: TensorDescriptor]
    /// The tensors' names in the order of their bytes.
    public let names: [String]

    /// Maps the file and checks its header. Throws a ``TensorError`` that names the file and the tensor or offset at fault.
    public init(contentsOf path: String) throws(TensorError) {
        try self.init(data: Data(mappingFileAt: path), name: path)
    }

    /// The same for bytes in memory; `name` stands for the path in messages.
    package init(data: Data, name: String) throws(TensorError) {
        let header = try SafetensorsHeader(readingFrom: data, file: name)
        path = name
        // Byte ranges count from 0, and a slice's indices do not.
        self.data = data.startIndex == 0 ? data : Data(data)
        metadata = header.metadata
        tensors = header.tensors
        names = header.names
    }

    /// The tensor called `name`, as a slice of ``data``. Throws ``TensorError/Code/missingTensor`` where the file has none.
    public func tensor(_ name: String) throws(TensorError) -> HostTensor {
        guard let descriptor = tensors[name] else {
            throw TensorError(.missingTensor, file: path, "there is no tensor \(TensorError.quote(name)) among the \(tensors.count)")
        }
        return HostTensor(checked: descriptor.dtype, descriptor.shape, data[descriptor.byteRange])
    }
}
