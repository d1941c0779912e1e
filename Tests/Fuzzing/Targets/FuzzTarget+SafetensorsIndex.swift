import Tensors

extension FuzzTarget {
    /// The index of a sharded checkpoint.
    static let safetensorsIndex = FuzzTarget(
        name: "safetensors-index",
        seeds: [
            #"{"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#,
            #"{"weight_map":{}}"#, #"{"weight_map":{"é":"x"},"other":[1,{"y":null}]}"#,
        ].map { Array($0.utf8) },
        format: .json,
        dictionary: ["weight_map", "metadata", "a", "b", "model-00001-of-00002.safetensors", "../x", "/x", "..", ".x", "a/b", "a\\\\b"],
        statedMemoryMultiple: 24,
        run: { input in
            let index = try SafetensorsIndex(parsing: input, file: "fuzz")
            for shard in index.shards {
                guard !shard.isEmpty, !shard.hasPrefix("."), !shard.utf8.contains(UInt8(ascii: "/")), !shard.utf8.contains(0) else {
                    throw FuzzViolation("the shard '\(shard)' leads out of the folder")
                }
            }
        })
}
