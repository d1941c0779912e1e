/// A value that can be passed to a kernel: its bytes are what the kernel sees.
///
/// A struct of one's own conforms without further code when its layout is the one that CUDA C++ gives the same fields: declare it in a C header, or
/// order the fields so that no padding is needed.
package protocol KernelParameter: BitwiseCopyable, Sendable {}

extension Int32: KernelParameter {}
extension UInt32: KernelParameter {}
extension Int64: KernelParameter {}
extension UInt64: KernelParameter {}
extension Float: KernelParameter {}
extension Double: KernelParameter {}
extension DeviceAddress: KernelParameter {}
extension TensorMap: KernelParameter {}

/// Where the parameters of one launch lie behind each other, each on a boundary of 16 bytes.
struct ParameterLayout {
    private(set) var offsets: [UInt32] = []
    private(set) var sizes: [Int] = []
    private(set) var byteCount = 0

    mutating func append<Parameter: KernelParameter>(_ type: Parameter.Type) {
        offsets.append(UInt32(clamping: byteCount))
        sizes.append(MemoryLayout<Parameter>.stride)
        byteCount += (MemoryLayout<Parameter>.stride + 15) / 16 * 16
    }
}
