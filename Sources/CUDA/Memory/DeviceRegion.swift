/// An address in the GPU's memory. It owns nothing and knows no bounds; kernels take it as a pointer.
public struct DeviceAddress: Sendable, Hashable, CustomStringConvertible {
    public let bits: UInt64

    public init(bits: UInt64) { self.bits = bits }

    /// The address a number of bytes further on, without a check.
    public func advanced(by byteCount: Int) -> DeviceAddress { DeviceAddress(bits: bits &+ UInt64(bitPattern: Int64(byteCount))) }

    public var description: String { "0x" + String(bits, radix: 16) }
}

/// A stretch of memory that the GPU can reach: a view that owns nothing, so that the buffer behind it must outlive the work that uses it.
public struct DeviceRegion: Sendable, Hashable {
    public let address: DeviceAddress
    public let byteCount: Int

    /// A region over memory that someone else owns.
    public init(address: DeviceAddress, byteCount: Int) {
        self.address = address
        self.byteCount = byteCount
    }

    /// The part of a region that starts at an offset; all the rest when no length is given.
    public func slice(at offset: Int, byteCount length: Int? = nil) throws(CUDAError) -> DeviceRegion {
        let rest = byteCount.subtractingReportingOverflow(offset)
        guard offset >= 0, !rest.overflow, rest.partialValue >= 0, (length ?? 0) >= 0, (length ?? 0) <= rest.partialValue else {
            throw CUDAError(
                .invalidArgument,
                "a slice at byte \(offset)\(length.map { " of \($0) bytes" } ?? "") does not fit a region of \(byteCount) bytes")
        }
        return DeviceRegion(address: address.advanced(by: offset), byteCount: length ?? rest.partialValue)
    }
}
