extension CUDAExecutor {
    /// Bits of a weight as single tokens read it.
    package var decodeWeightBits: Int { decodeForm?.isResident == true ? decodeWeights.bits : 16 }

    /// Bytes on the GPU that the resident kernel keeps beside the weights; 0 where tokens are not decoded by it.
    package func decodeByteCount() throws -> Int { try decodeEngine()?.byteCount ?? 0 }

    /// Blocks of the resident kernel; nil where tokens are not decoded by it.
    package func decodeBlocks() throws -> Int? { try decodeEngine()?.blocks }

    /// Exchanges of the resident kernel for one token behind `position` cached ones; nil where tokens are not decoded by it.
    package func decodeExchanges(position: Int) throws -> Int? { try decodeEngine()?.plan.exchanges(spec, position: position) }

    /// Bytes of the memory through which a prompt of so many rows passes.
    package func spaceByteCount(rows: Int) -> Int {
        PassSpace.Placement(spec, rows: min(rows, CUDADecoderSession.blockRows), residual: residual).byteCount
    }

    /// Bits of an element of the cache.
    package var cacheBits: Int { cacheFormat == .float8 ? 8 : 16 }
}

extension DecodePlan {
    /// Exchanges between the blocks, through the L2, for one token behind `position` cached ones: the kernel's head says which.
    package func exchanges(_ spec: TransformerSpec, position: Int) -> Int {
        1 + spec.layers.reduce(0) { $0 + (min(position + 1, $1.window ?? .max) > pairedPositions ? 5 : 4) }
    }
}
