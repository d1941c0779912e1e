extension CUDAExecutor {
    /// Bits of a weight as single tokens read it.
    package var decodeWeightBits: Int { decodeForm?.isResident == true ? decodeWeights.bits : 16 }

    /// Bytes on the GPU that the resident kernel keeps beside the weights; 0 where tokens are not decoded by it.
    package func decodeByteCount() throws -> Int { try decodeEngine()?.byteCount ?? 0 }

    /// Blocks of the resident kernel; nil where tokens are not decoded by it.
    package func decodeBlocks() throws -> Int? { try decodeEngine()?.blocks }

    /// Bytes of the memory through which a prompt of so many rows passes.
    package func spaceByteCount(rows: Int) -> Int {
        PassSpace.Placement(spec, rows: min(rows, CUDADecoderSession.blockRows), residual: residual).byteCount
    }

    /// Bits of an element of the cache.
    package var cacheBits: Int { cacheFormat == .float8 ? 8 : 16 }
}

extension DecodePlan {
    /// Positions that a layer sees up to which its attention is not shared out, which saves an exchange.
    package static var unsharedPositions: Int { Int(DecodeArguments().fullSplits) }

    /// Exchanges between the blocks for one token behind `position` cached ones: the kernel's head says which.
    package static func exchanges(_ spec: TransformerSpec, position: Int) -> Int {
        1 + spec.layers.reduce(0) { $0 + (min(position + 1, $1.window ?? .max) > unsharedPositions ? 5 : 4) }
    }
}
