package import Tensors

/// What the checks need to know of a tensor, wherever it lies, so that the CPU reference and the launch refuse the same arguments in the same words.
package protocol TensorArgument: Sendable {
    var dtype: DType { get }
    /// Outermost dimension first.
    var shape: [Int] { get }
    /// Elements from one index of a dimension to the next.
    var strides: [Int] { get }
    var place: TensorPlace { get }
}

/// Where a tensor lies.
package enum TensorPlace: Sendable, Hashable, CustomStringConvertible {
    case host
    /// A GPU, by its position.
    case device(Int)

    package var description: String {
        switch self {
        case .host: "cpu"
        case .device(let ordinal): "cuda:\(ordinal)"
        }
    }
}

/// A tensor as the checks see it, without its elements.
package struct TensorDescription: TensorArgument {
    package var dtype: DType
    package var shape: [Int]
    package var strides: [Int]
    package var place: TensorPlace

    /// Row-major unless strides are given.
    package init(_ dtype: DType, _ shape: [Int], strides: [Int]? = nil, on place: TensorPlace) {
        self.dtype = dtype
        self.shape = shape
        self.strides = strides ?? StridedLayout.contiguousStrides(shape)
        self.place = place
    }
}

extension HostTensor: TensorArgument {
    package var strides: [Int] { StridedLayout.contiguousStrides(shape) }
    package var place: TensorPlace { .host }
}

/// Arithmetic on shapes and strides.
enum StridedLayout {
    /// The strides of a row-major tensor.
    static func contiguousStrides(_ shape: [Int]) -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        for index in stride(from: shape.count - 2, through: 0, by: -1) {
            strides[index] = strides[index + 1] &* max(1, shape[index + 1])
        }
        return strides
    }

    /// True when the elements lie one after the other, row-major. Dimensions of one index may have any stride.
    static func isContiguous(_ shape: [Int], _ strides: [Int]) -> Bool {
        if shape.contains(0) { return true }
        var expected = 1
        for index in shape.indices.reversed() where shape[index] != 1 {
            if strides[index] != expected { return false }
            expected *= shape[index]
        }
        return true
    }

    /// The product of sizes; nil when it does not fit.
    static func count(_ sizes: some Sequence<Int>) -> Int? {
        var product = 1
        for size in sizes {
            let (next, overflow) = product.multipliedReportingOverflow(by: size)
            guard !overflow else { return nil }
            product = next
        }
        return product
    }

    /// Joins all but the last `trailing` dimensions into one: how many indices it has and how many elements lie from one to the next. Nil where
    /// they do not lie evenly.
    static func joinLeading(_ tensor: some TensorArgument, trailing: Int) -> (count: Int, stride: Int)? {
        let leading = tensor.shape.count - trailing
        let inner = contiguousStrides(Array(tensor.shape.suffix(trailing)))
        let row = (inner.first ?? 1) * max(1, tensor.shape.suffix(trailing).first ?? 1)
        var result: (count: Int, stride: Int)?
        for index in stride(from: leading - 1, through: 0, by: -1) where tensor.shape[index] != 1 {
            guard let (count, stride) = result else {
                result = (tensor.shape[index], tensor.strides[index])
                continue
            }
            guard tensor.strides[index] == count * stride else { return nil }
            result = (count * tensor.shape[index], stride)
        }
        return result ?? (tensor.shape.prefix(leading).contains(0) ? 0 : 1, row)
    }

    /// True when the last `trailing` dimensions lie one after the other, row-major.
    static func isDense(_ tensor: some TensorArgument, trailing: Int) -> Bool {
        isContiguous(Array(tensor.shape.suffix(trailing)), Array(tensor.strides.suffix(trailing)))
    }
}
