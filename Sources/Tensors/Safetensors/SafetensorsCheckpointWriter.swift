public import Foundation

/// Writes a model's tensors into a folder: as `model.safetensors`, or as shards with an index where they exceed a bound.
///
/// Tensors are filled into the shards in the order in which they are declared; one that is larger than the bound has a shard to itself. As
/// with ``SafetensorsWriter``, bytes come in pieces; tensors of one shard may come in any order, and a shard is finished when its last byte came.
public struct SafetensorsCheckpointWriter: ~Copyable {
    private let folder: URL
    private let metadata: [String: String]
    private var shards: [Shard]
    private let places: [String: Place]
    /// The shard that is being written, with its index.
    private var current: SafetensorsWriter?
    private var currentIndex: Int?

    private struct Shard {
        let name: String
        let tensors: [TensorLayout]
        var missingByteCount: Int
        var isFinished = false
    }

    private struct Place {
        let shardIndex: Int
        let layout: TensorLayout
    }

    /// Plans the shards. Throws where a name stands twice, or where the folder holds a checkpoint of the other form, which readers would mix up
    /// with this one.
    public init(
        directory: String, tensors: [TensorLayout], metadata: [String: String] = ["format": "pt"], maximumShardByteCount: Int? = nil
    ) throws(TensorError) {
        guard try RegularFile.kind(of: directory) == .typeDirectory else {
            throw TensorError(.notRegularFile, file: directory, "a folder is expected")
        }
        let folder = URL(fileURLWithPath: directory, isDirectory: true)
        let groups = Self.groups(of: tensors, maximumShardByteCount: maximumShardByteCount ?? .max)
        let shards = groups.enumerated().map { index, group in
            let name =
                groups.count == 1
                ? SafetensorsCheckpoint.fileName : "model-\(Self.pad(index + 1))-of-\(Self.pad(groups.count)).safetensors"
            return Shard(name: name, tensors: group, missingByteCount: group.reduce(0) { $0 &+ $1.byteCount })
        }
        var places: [String: Place] = [:]
        for (index, group) in groups.enumerated() {
            for tensor in group {
                guard places.updateValue(Place(shardIndex: index, layout: tensor), forKey: tensor.name) == nil else {
                    throw TensorError(.duplicateName, file: directory, "the tensor \(TensorError.quote(tensor.name)) is declared twice")
                }
            }
        }
        let other = groups.count == 1 ? SafetensorsCheckpoint.indexFileName : SafetensorsCheckpoint.fileName
        guard !FileManager.default.fileExists(atPath: folder.appendingPathComponent(other).path) else {
            throw TensorError(
                .unwritable, file: directory, "the folder holds \(other), of another checkpoint; move it away or write to a new folder")
        }
        self.folder = folder
        self.metadata = metadata
        self.shards = shards
        self.places = places
    }

    /// The names of the files that hold tensors, in order.
    public var fileNames: [String] { shards.map(\.name) }

    /// Appends bytes to the tensor called `name`. A tensor of another shard than the last one must wait until that shard is whole.
    public mutating func append(_ bytes: Data, to name: String) throws(TensorError) {
        guard let index = places[name]?.shardIndex else {
            throw TensorError(.missingTensor, file: folder.path, "the tensor \(TensorError.quote(name)) was not declared")
        }
        // An empty tensor has no byte that a shard could wait for.
        guard !bytes.isEmpty else { return }
        guard !shards[index].isFinished else {
            throw TensorError(
                .incomplete, file: shards[index].name, "is whole; nothing can be appended to tensor \(TensorError.quote(name))")
        }
        try openShard(index)
        // Taken out and put back, since an optional of a noncopyable type cannot be changed in place through `?`.
        guard var writer = current.take() else { return }
        do {
            try writer.append(bytes, to: name)
        } catch {
            current = consume writer
            throw error
        }
        shards[index].missingByteCount -= bytes.count
        current = consume writer
        if shards[index].missingByteCount == 0 { try finishShard(index) }
    }

    /// Writes a whole tensor, whose type and shape must be those declared for `name`.
    public mutating func write(_ tensor: HostTensor, to name: String) throws(TensorError) {
        if let place = places[name], place.layout.dtype != tensor.dtype || place.layout.shape != tensor.shape {
            let layout = place.layout
            throw TensorError(
                .shape, file: shards[place.shardIndex].name,
                "tensor \(TensorError.quote(name)) was declared as \(layout.dtype) \(layout.shape), given is \(tensor.dtype) \(tensor.shape)"
            )
        }
        try append(tensor.data, to: name)
    }

    /// Writes the index, where there are shards. Throws ``TensorError/Code/incomplete`` where bytes of a tensor have not come.
    public consuming func finish() throws(TensorError) {
        for index in shards.indices where !shards[index].isFinished {
            // What is missing a byte, finishing the shard tells; without tensors, or with empty ones only, there was no last byte to finish it.
            try openShard(index)
            try finishShard(index)
        }
        if shards.count > 1 { try writeIndex() }
    }

    private mutating func openShard(_ index: Int) throws(TensorError) {
        guard index != currentIndex else { return }
        if let unfinished = currentIndex {
            throw TensorError(
                .incomplete, file: shards[unfinished].name,
                "misses \(shards[unfinished].missingByteCount) bytes; \(shards[index].name) cannot be begun before")
        }
        current = try SafetensorsWriter(
            path: folder.appendingPathComponent(shards[index].name).path, tensors: shards[index].tensors, metadata: metadata)
        currentIndex = index
    }

    private mutating func finishShard(_ index: Int) throws(TensorError) {
        guard let writer = current.take() else { return }
        currentIndex = nil
        try writer.finish()
        shards[index].isFinished = true
    }

    private func writeIndex() throws(TensorError) {
        var total = 0
        var lines: [String] = []
        for shard in shards {
            for tensor in shard.tensors {
                total = total &+ tensor.byteCount
                lines.append("    \(JSONText.quote(tensor.name)): \(JSONText.quote(shard.name))")
            }
        }
        let map = lines.sorted().joined(separator: ",\n")
        let text = "{\n  \"metadata\": {\n    \"total_size\": \(total)\n  },\n  \"weight_map\": {\n\(map)\n  }\n}\n"
        var file = try PendingFile(folder.appendingPathComponent(SafetensorsCheckpoint.indexFileName).path)
        try file.write(Data(text.utf8), at: 0)
        try file.commit()
    }

    private static func groups(of tensors: [TensorLayout], maximumShardByteCount bound: Int) -> [[TensorLayout]] {
        var groups: [[TensorLayout]] = [[]]
        var byteCount = 0
        for tensor in tensors {
            let (sum, overflow) = byteCount.addingReportingOverflow(tensor.byteCount)
            if overflow || sum > bound, tensor.byteCount > 0, !groups[groups.count - 1].isEmpty {
                groups.append([])
                byteCount = tensor.byteCount
            } else {
                byteCount = overflow ? .max : sum
            }
            groups[groups.count - 1].append(tensor)
        }
        return groups
    }

    private static func pad(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
