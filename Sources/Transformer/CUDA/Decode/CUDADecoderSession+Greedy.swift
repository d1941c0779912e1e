extension CUDADecoderSession: GreedyDecoderSession {
    package func decodeGreedily(
        from first: Int32, limit: Int, stops: [Int32], sampleable: Int, _ body: (Int32) throws -> Bool
    ) throws -> Bool {
        guard let engine = try executor.decodeEngine() else { return false }
        try check([first])
        try engine.generate(from: first, limit: limit, stops: stops, sampleable: sampleable, cache: cache, body)
        return true
    }
}
