public import CUDA
public import Tensors

/// A tensor in the GPU's memory: element type, shape, strides, and a share of the memory.
///
/// It is a view: copies and slices share the memory, which is freed when the last of them goes, behind the work that its stream then holds. It says
/// nothing of when the elements are there: work that uses it goes into the stream that filled it, or into one that waits for that.
public struct DeviceTensor: Sendable, TensorArgument {
    public let dtype: DType
    /// Outermost dimension first; `[]` for a scalar.
    public let shape: [Int]
    /// Elements from one index of a dimension to the next. Row-major without gaps unless the tensor is a slice.
    public let strides: [Int]
    public let storage: DeviceStorage
    /// Where the first element lies in the storage.
    public let byteOffset: Int

    init(unchecked dtype: DType, _ shape: [Int], _ strides: [Int], _ storage: DeviceStorage, _ byteOffset: Int) {
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.storage = storage
        self.byteOffset = byteOffset
    }

    /// New memory with undefined contents, to be used in the stream from now on.
    public init(uninitialized dtype: DType, shape: [Int], on stream: Stream) throws(OperatorError) {
        let byteCount = try Self.byteCount(dtype, shape)
        let buffer = try OperatorError.wrap("tensor") { () throws(CUDAError) in try DeviceBuffer(byteCount: byteCount, on: stream) }
        self.init(unchecked: dtype, shape, StridedLayout.contiguousStrides(shape), DeviceStorage(buffer), 0)
    }

    /// A row-major tensor over memory that someone else owns, and must keep alive and large enough.
    public init(borrowing region: DeviceRegion, dtype: DType, shape: [Int], on context: Context) throws(OperatorError) {
        try self.init(region, ordinal: context.device.ordinal, dtype: dtype, shape: shape)
    }

    package init(_ region: DeviceRegion, ordinal: Int, dtype: DType, shape: [Int], strides: [Int]? = nil) throws(OperatorError) {
        let strides = strides ?? StridedLayout.contiguousStrides(shape)
        let needed = try Self.span(dtype, shape, strides)
        guard needed <= region.byteCount else {
            throw OperatorError(
                .shape, in: "tensor", tensor: "tensor", expected: "at most \(region.byteCount) bytes", actual: "\(needed) bytes",
                "the shape \(shape) of \(dtype) needs \(needed) bytes, the region has \(region.byteCount)")
        }
        self.init(unchecked: dtype, shape, strides, DeviceStorage(borrowing: region, ordinal: ordinal), 0)
    }

    /// Where the first element lies.
    public var address: DeviceAddress { storage.region.address.advanced(by: byteOffset) }

    public var elementCount: Int { StridedLayout.count(shape) ?? 0 }
    public var isEmpty: Bool { shape.contains(0) }
    /// True when the elements lie one after the other, row-major.
    public var isContiguous: Bool { StridedLayout.isContiguous(shape, strides) }

    package var place: TensorPlace { .device(storage.ordinal) }

    /// The bytes from the first element to the last, gaps included.
    package var region: DeviceRegion {
        let byteCount = (try? Self.span(dtype, shape, strides)) ?? 0
        return DeviceRegion(address: address, byteCount: byteCount)
    }

    static func byteCount(_ dtype: DType, _ shape: [Int]) throws(OperatorError) -> Int {
        guard let byteCount = Shape.byteCount(of: shape, dtype) else {
            throw .shape("tensor", "tensor", expected: "sizes from 0 up whose product fits the memory", actual: shape)
        }
        return byteCount
    }

    /// The bytes from the first element to behind the last.
    static func span(_ dtype: DType, _ shape: [Int], _ strides: [Int]) throws(OperatorError) -> Int {
        _ = try byteCount(dtype, shape)
        if shape.contains(0) { return 0 }
        var last = 0
        for (size, stride) in zip(shape, strides) {
            let (step, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
            let (next, carried) = last.addingReportingOverflow(step)
            guard stride >= 0, !overflow, !carried, next < Int.max / 16 else {
                throw .shape("tensor", "tensor", expected: "strides from 0 up that fit the memory", actual: strides)
            }
            last = next
        }
        return (last + 1) * dtype.byteCount
    }
}
