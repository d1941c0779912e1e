extension CUDADecoderSession: ResidentDecoderSession {
    package func decode(
        from first: Int32, limit: Int, stops: [Int32], sampleable: Int, draw: DeviceDraw?, lookup: DeviceLookup?, _ body: (Int32) throws -> Bool
    ) throws -> Bool {
        guard let engine = try executor.decodeEngine() else { return false }
        try check([first])
        return try engine.generate(from: first, limit: limit, stops: stops, sampleable: sampleable, draw: draw, lookup: lookup, cache: cache, body)
    }
}
