import CUDA
import Operators
import Tensors

/// What a cache of codes holds, and what its kernel makes of rows: for verification.
extension CUDAExecutor {
    /// Rows `[D]` of keys or values, exact in bf16, put into a new cache as a pass over tokens does, in the last layer.
    ///
    /// - Returns: for each row its codes, what attention reads beside the pass that coded it, and what it reads in a later pass.
    package func codeRows(_ rows: [[Float]]) throws -> [(coded: CodedCacheRow, own: [Float], later: [Float])] {
        let (g, d) = (spec.keyValueHeads, spec.headDimension)
        // Keys, then values, [tokens, G, D] each.
        let tokens = (rows.count + 2 * g - 1) / (2 * g)
        let half = tokens * g
        let padded = rows + [[Float]](repeating: [Float](repeating: 0, count: d), count: 2 * half - rows.count)
        func upload(_ rows: ArraySlice<[Float]>) throws -> DeviceTensor {
            let tensor = try context.tensor(.bfloat16, [rows.count / g, g, d])
            try context.stream.upload(rows.flatMap { $0.map { BFloat16($0).bitPattern } }, to: tensor.region)
            return tensor
        }
        func floats(_ tensors: (keys: DeviceTensor, values: DeviceTensor)) throws -> [[Float]] {
            try [tensors.keys, tensors.values].flatMap { tensor in
                let all = try context.stream.download(UInt16.self, from: tensor.slice(0, 0..<tokens).region).map { Float(BFloat16(bitPattern: $0)) }
                return stride(from: 0, to: all.count, by: d).map { Array(all[$0..<$0 + d]) }
            }
        }
        let layer = spec.layers.count - 1
        let cache = DeviceKeyValueCache(spec: spec, format: .float8, on: context)
        try cache.reserve(tokens + 1)
        let (keys, values) = (try upload(padded[..<half]), try upload(padded[half...]))
        let own = try withCacheKernels { try floats($0.store(keys: keys, values: values, into: cache, layer: layer)) }
        cache.move(to: tokens)
        let last = padded[0..<g]
        let later = try withCacheKernels { try floats($0.store(keys: upload(last), values: upload(last), into: cache, layer: layer)) }
        let coded = try codedRows(of: cache, layer: layer)
        return rows.indices.map { (coded[$0], own[$0], later[$0]) }
    }

    /// The keys, then the values of a layer in a session's cache of codes, a row for each position and head.
    package func codedRows(of session: any DecoderSession, layer: Int) throws -> [CodedCacheRow] {
        guard let session = session as? CUDADecoderSession, session.cache.format == .float8 else {
            throw TransformerError(.invalidSpec, "the session has no cache of codes on this GPU")
        }
        return try codedRows(of: session.cache, layer: layer)
    }

    private func codedRows(of cache: DeviceKeyValueCache, layer: Int) throws -> [CodedCacheRow] {
        let d = spec.headDimension
        func rows(_ codes: DeviceTensor, _ exponents: DeviceTensor?) throws -> [CodedCacheRow] {
            guard let exponents else { return [] }
            let codes = try context.stream.download(UInt8.self, from: codes.slice(0, 0..<cache.position).region)
            let numbers = try context.stream.download(UInt8.self, from: exponents.slice(0, 0..<cache.position).region)
            return numbers.indices.map { CodedCacheRow(codes: Array(codes[$0 * d..<($0 + 1) * d]), exponent: numbers[$0]) }
        }
        return try rows(cache.keys(layer: layer), cache.keyExponents(layer: layer))
            + rows(cache.values(layer: layer), cache.valueExponents(layer: layer))
    }
}
