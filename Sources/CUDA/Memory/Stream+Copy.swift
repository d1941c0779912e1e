import CCUDA

// Copies and fills, in stream order. Sizes are those of the regions and must agree; a copy of 0 bytes does nothing.
extension Stream {
    /// Copies values to the GPU. They may change as soon as this returns. Inside a capture use a pinned buffer, which outlives the graph.
    public func upload<Value: BitwiseCopyable>(_ values: [Value], to target: DeviceRegion) throws(CUDAError) {
        let length = try byteCountOf(values.count, of: Value.self)
        try Self.check(length, target.byteCount)
        guard length > 0 else { return }
        try refuseCapture("upload of an array")
        let status = values.withUnsafeBytes { bytes -> Int32 in
            guard let base = bytes.baseAddress else { return 1 }
            return table.pointee.copyToDevice(target.address.bits, base, length, handle)
        }
        try check(status, "cuMemcpyHtoDAsync")
    }

    /// Copies bytes to the GPU. They may change as soon as this returns. Inside a capture use a pinned buffer.
    public func upload(_ bytes: UnsafeRawBufferPointer, to target: DeviceRegion) throws(CUDAError) {
        try Self.check(bytes.count, target.byteCount)
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        try refuseCapture("upload of pageable memory")
        try check(table.pointee.copyToDevice(target.address.bits, base, bytes.count, handle), "cuMemcpyHtoDAsync")
    }

    /// Copies a part of a pinned buffer to the GPU. The buffer must not change before the copy has run.
    public func upload(_ source: borrowing PinnedBuffer, at offset: Int = 0, to target: DeviceRegion) throws(CUDAError) {
        guard let pointer = try source.pointer(at: offset, byteCount: target.byteCount), target.byteCount > 0 else { return }
        try context.activate()
        try check(table.pointee.copyToDevice(target.address.bits, pointer, target.byteCount, handle), "cuMemcpyHtoDAsync")
    }

    /// Copies a region to the host and waits for it. The region's size must be a multiple of the value's.
    public func download<Value: BitwiseCopyable>(_ type: Value.Type, from source: DeviceRegion) throws(CUDAError) -> [Value] {
        let stride = MemoryLayout<Value>.stride
        guard source.byteCount % stride == 0 else {
            throw CUDAError(
                .invalidArgument, "a region of \(source.byteCount) bytes does not hold whole values of \(type) (\(stride) bytes each)")
        }
        guard source.byteCount > 0 else {
            try synchronize()
            return []
        }
        try refuseCapture("download to an array")
        var status: Int32 = 0
        let count = source.byteCount / stride
        let values = [Value](unsafeUninitializedCapacity: count) { buffer, initialized in
            // Zeros first: the array counts as initialised even when the copy fails.
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
            initialized = count
            guard let base = bytes.baseAddress else { return }
            status = table.pointee.copyToHost(base, source.address.bits, source.byteCount, handle)
            if status == 0 { status = table.pointee.synchronizeStream(handle) }
        }
        try check(status, "cuMemcpyDtoHAsync")
        return values
    }

    /// Copies a region into a pinned buffer. The values are there once the stream, or an event behind the copy, is synchronised.
    public func download(_ source: DeviceRegion, to target: borrowing PinnedBuffer, at offset: Int = 0) throws(CUDAError) {
        guard let pointer = try target.pointer(at: offset, byteCount: source.byteCount), source.byteCount > 0 else { return }
        try context.activate()
        try check(table.pointee.copyToHost(pointer, source.address.bits, source.byteCount, handle), "cuMemcpyDtoHAsync")
    }

    /// Copies within the GPU. The regions must not overlap.
    public func copy(_ source: DeviceRegion, to target: DeviceRegion) throws(CUDAError) {
        try Self.check(source.byteCount, target.byteCount)
        guard source.byteCount > 0 else { return }
        try context.activate()
        try check(table.pointee.copyOnDevice(target.address.bits, source.address.bits, source.byteCount, handle), "cuMemcpyDtoDAsync")
    }

    /// Sets every byte of a region.
    public func fill(_ target: DeviceRegion, with byte: UInt8 = 0) throws(CUDAError) {
        guard target.byteCount > 0 else { return }
        try context.activate()
        try check(table.pointee.fill8(target.address.bits, byte, target.byteCount, handle), "cuMemsetD8Async")
    }

    /// Sets every word of a region, whose size and address must be multiples of 4.
    public func fill(_ target: DeviceRegion, withWord word: UInt32) throws(CUDAError) {
        guard target.byteCount % 4 == 0, target.address.bits % 4 == 0 else {
            throw CUDAError(.invalidArgument, "a region of \(target.byteCount) bytes at \(target.address) is not one of whole words")
        }
        guard target.byteCount > 0 else { return }
        try context.activate()
        try check(table.pointee.fill32(target.address.bits, word, target.byteCount / 4, handle), "cuMemsetD32Async")
    }

    private static func check(_ source: Int, _ target: Int) throws(CUDAError) {
        guard source == target else { throw CUDAError(.invalidArgument, "cannot copy \(source) bytes into a region of \(target) bytes") }
    }

    /// A graph would keep the address of memory that is gone when it runs.
    private func refuseCapture(_ work: String) throws(CUDAError) {
        guard try isCapturing() else { return }
        throw CUDAError(.invalidArgument, "\(work) cannot be captured into a graph; copy from or to a PinnedBuffer")
    }
}
