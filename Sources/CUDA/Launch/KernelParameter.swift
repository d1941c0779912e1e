/// A value that can be passed to a kernel: its bytes are what the kernel sees.
///
/// A struct of one's own conforms without further code when its layout is the one that CUDA C++ gives the same fields: declare it in a C
/// header, or order the fields so that no padding is needed.
@usableFromInline
package protocol KernelParameter: BitwiseCopyable, Sendable {}

extension Int32: KernelParameter {}
extension UInt32: KernelParameter {}
extension Int64: KernelParameter {}
extension UInt64: KernelParameter {}
extension Float: KernelParameter {}
extension Double: KernelParameter {}
extension DeviceAddress: KernelParameter {}
extension TensorMap: KernelParameter {}

/// The room that the parameters of one launch take: a table of offset and size for each, then the values, each on a boundary of 16 bytes.
@usableFromInline
package struct ParameterLayout {
    @usableFromInline var count = 0
    @usableFromInline var valueByteCount = 0

    @inlinable
    init() {}

    @inlinable
    mutating func add(_ stride: Int) {
        count += 1
        valueByteCount += (stride + 15) / 16 * 16
    }

    /// Two 32-bit numbers a parameter, rounded up so that the values behind them are aligned.
    @inlinable var tableByteCount: Int { (count * 8 + 15) / 16 * 16 }
    @inlinable var byteCount: Int { max(16, tableByteCount + valueByteCount) }
}

/// Writes the parameters of one launch into memory of the layout's size.
@usableFromInline
package struct ParameterWriter {
    @usableFromInline let memory: UnsafeMutableRawBufferPointer
    @usableFromInline let tableByteCount: Int
    @usableFromInline var index = 0
    @usableFromInline var offset = 0

    @inlinable
    init(_ memory: UnsafeMutableRawBufferPointer, _ layout: ParameterLayout) {
        self.memory = memory
        tableByteCount = layout.tableByteCount
        memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// The layout has counted every value that comes here, so each store lies inside the memory; the buffer checks it all the same.
    @inlinable
    mutating func append<Value: KernelParameter>(_ value: Value) {
        memory.storeBytes(of: UInt32(truncatingIfNeeded: offset), toByteOffset: index * 8, as: UInt32.self)
        memory.storeBytes(of: UInt32(truncatingIfNeeded: MemoryLayout<Value>.stride), toByteOffset: index * 8 + 4, as: UInt32.self)
        memory.storeBytes(of: value, toByteOffset: tableByteCount + offset, as: Value.self)
        index += 1
        offset += (MemoryLayout<Value>.stride + 15) / 16 * 16
    }
}
