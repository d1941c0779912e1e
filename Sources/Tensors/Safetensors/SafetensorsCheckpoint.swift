import Foundation

/// A model's tensors, in one safetensors file or in shards with an index.
public struct SafetensorsCheckpoint: Sendable {
    public static let fileName = "model.safetensors"
    public static let indexFileName = "model.safetensors.index.json"

    /// The open files, in the order of their names.
    public let files: [SafetensorsFile]
    /// The tensors' names, file by file in the order of their bytes.
    public let names: [String]
    /// From tensor name to an index into ``files``.
    private let fileIndices: [String: Int]

    /// Opens `model.safetensors` of a folder or, where there is none, the shards that `model.safetensors.index.json` names.
    ///
    /// Shards must lie in the folder itself (a link that leads elsewhere is followed, as the hub's cache needs it) and hold exactly the tensors
    /// that the index places in them. Throws a ``TensorError`` that names the file, and the tensor that is missing or too many.
    public init(directory: String) throws(TensorError) {
        guard try RegularFile.kind(of: directory) == .typeDirectory else {
            throw TensorError(.notRegularFile, file: directory, "a folder is expected")
        }
        let folder = URL(fileURLWithPath: directory, isDirectory: true)
        let single = folder.appendingPathComponent(Self.fileName).path
        if FileManager.default.fileExists(atPath: single) {
            try self.init(files: [SafetensorsFile(contentsOf: single)])
            return
        }
        let indexPath = folder.appendingPathComponent(Self.indexFileName).path
        guard FileManager.default.fileExists(atPath: indexPath) else {
            throw TensorError(.notFound, file: directory, "the folder has neither \(Self.fileName) nor \(Self.indexFileName)")
        }
        let index = try SafetensorsIndex(contentsOf: indexPath)
        var files: [SafetensorsFile] = []
        for shard in index.shards {
            let path = folder.appendingPathComponent(shard).path
            guard FileManager.default.fileExists(atPath: path) else {
                throw TensorError(
                    .notFound, file: indexPath, "the shard \(TensorError.quote(shard)) that the index names is not in the folder")
            }
            files.append(try SafetensorsFile(contentsOf: path))
        }
        try Self.check(files, named: index.shards, against: index, indexPath)
        try self.init(files: files)
    }

    /// A checkpoint of these files, in which no tensor may stand twice.
    package init(files: [SafetensorsFile]) throws(TensorError) {
        var names: [String] = []
        var fileIndices: [String: Int] = [:]
        for (index, file) in files.enumerated() {
            for name in file.names {
                if let other = fileIndices.updateValue(index, forKey: name) {
                    throw TensorError(
                        .duplicateName, file: file.path, "the tensor \(TensorError.quote(name)) also stands in \(files[other].path)")
                }
                names.append(name)
            }
        }
        self.files = files
        self.names = names
        self.fileIndices = fileIndices
    }

    private static func check(
        _ files: [SafetensorsFile], named shards: [String], against index: SafetensorsIndex, _ indexPath: String
    ) throws(TensorError) {
        let byShard = Dictionary(uniqueKeysWithValues: zip(shards, files))
        // In sorted order, so that of several faults the same one is always named.
        for (tensor, shard) in index.shardNames.sorted(by: { $0.key < $1.key }) where byShard[shard]?.tensors[tensor] == nil {
            throw TensorError(
                .missingTensor, file: indexPath, "the index places tensor \(TensorError.quote(tensor)) in \(shard), which does not hold it")
        }
        for (shard, file) in zip(shards, files) {
            for name in file.names where index.shardNames[name] != shard {
                let place = index.shardNames[name].map { "places it in \($0)" } ?? "does not name it"
                throw TensorError(.unexpectedTensor, file: file.path, "holds tensor \(TensorError.quote(name)), but the index \(place)")
            }
        }
    }

    /// The file that holds the tensor and the tensor's place in it, or nil where there is none of that name.
    public subscript(name: String) -> (file: SafetensorsFile, descriptor: TensorDescriptor)? {
        guard let index = fileIndices[name], let descriptor = files[index].tensors[name] else { return nil }
        return (files[index], descriptor)
    }

    /// The tensor called `name`, as a slice of its file. Throws ``TensorError/Code/missingTensor`` where there is none.
    public func tensor(_ name: String) throws(TensorError) -> HostTensor {
        guard let index = fileIndices[name] else {
            let place = files.count == 1 ? files[0].path : "\(files.count) files"
            throw TensorError(.missingTensor, file: place, "there is no tensor \(TensorError.quote(name)) among the \(names.count)")
        }
        return try files[index].tensor(name)
    }

    /// Bytes of all tensors together.
    public var tensorByteCount: Int {
        files.reduce(0) { sum, file in sum + file.tensors.values.reduce(0) { $0 + $1.byteCount } }
    }
}
