import Tensors

/// The operators in plain Swift on the CPU: sums in double precision, one rounding at the end. They are what the GPU's results are held against, and
/// run where there is no GPU; they are written to be read, not to be fast.
///
/// Arguments, results and errors are those of the methods of ``OperatorContext`` with the same names.
public enum CPUReference {}

extension CPUReference {
    /// The elements as doubles: exact for every type that operators take.
    static func doubles(_ operation: String, _ tensor: HostTensor) throws(OperatorError) -> [Double] {
        let floats = try OperatorError.wrapFile(operation) { () throws(TensorError) in try tensor.float32() }
        return floats.map(Double.init)
    }

    /// A tensor of these values, rounded.
    static func tensor(_ operation: String, _ values: [Double], _ dtype: DType, _ shape: [Int]) throws(OperatorError) -> HostTensor {
        try OperatorError.wrapFile(operation) { () throws(TensorError) in
            try HostTensor(values.map { Float($0) }, shape: shape, as: dtype)
        }
    }

    /// The sum of products of two runs of elements.
    ///
    /// The buffers are those of arrays that the caller holds, and the runs lie inside them by the shapes that were checked.
    static func dot(_ a: [Double], _ first: Int, _ b: [Double], _ second: Int, _ count: Int) -> Double {
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                // Four sums, because one would wait for itself.
                var sums = SIMD4<Double>(repeating: 0)
                var index = 0
                while index + 4 <= count {
                    let x = SIMD4(a[first + index], a[first + index + 1], a[first + index + 2], a[first + index + 3])
                    let y = SIMD4(b[second + index], b[second + index + 1], b[second + index + 2], b[second + index + 3])
                    sums += x * y
                    index += 4
                }
                var sum = sums.sum()
                while index < count {
                    sum += a[first + index] * b[second + index]
                    index += 1
                }
                return sum
            }
        }
    }
}
