package import Foundation

extension HostTensor {
    /// A float32 tensor of these values. Throws ``TensorError/Code/shape`` where they are not as many as the shape needs.
    public init(_ values: [Float], shape: [Int]) throws(TensorError) {
        try self.init(values, shape: shape, as: .float32)
    }

    /// A tensor of these values, each rounded to the nearest of `dtype`, which must be a floating-point type. Float8 E4M3 saturates.
    public init(_ values: [Float], shape: [Int], as dtype: DType) throws(TensorError) {
        guard let bytes = Self.encode(values, as: dtype) else {
            throw TensorError(.dataType, "floats cannot be stored as \(dtype)")
        }
        try self.init(dtype: dtype, shape: shape, data: bytes)
    }

    /// The elements as floats, row-major. Exact for every floating-point type but float64, which is rounded.
    ///
    /// Throws ``TensorError/Code/dataType`` for integers and booleans. Costs 4 bytes for each element.
    public func float32() throws(TensorError) -> [Float] {
        switch dtype {
        case .float64: widen { Float(Double(bitPattern: UInt64(littleEndian: $0))) }
        case .float32: widen { Float(bitPattern: UInt32(littleEndian: $0)) }
        case .float16: widen { Float(Float16(bitPattern: UInt16(littleEndian: $0))) }
        case .bfloat16: widen { Float(BFloat16(bitPattern: UInt16(littleEndian: $0))) }
        case .float8E4M3: widen { Float(Float8E4M3(bitPattern: $0)) }
        case .float8E5M2: widen { Float(Float8E5M2(bitPattern: $0)) }
        case .int64, .int32, .int16, .int8, .uint64, .uint32, .uint16, .uint8, .bool:
            throw TensorError(.dataType, "the tensor holds \(dtype), not floats")
        }
    }

    @inline(__always)
    private func widen<Bits: FixedWidthInteger & BitwiseCopyable>(_ convert: (Bits) -> Float) -> [Float] {
        let bytes = data.bytes
        let count = elementCount
        return [Float](capacity: count) { (output: inout OutputSpan<Float>) in
            for index in 0..<count {
                // The span checks the bounds; "unsafe" is that it believes any bits to be a value, which for an integer they are.
                output.append(convert(bytes.unsafeLoadUnaligned(fromByteOffset: index &* MemoryLayout<Bits>.size, as: Bits.self)))
            }
        }
    }

    /// The bytes of these values in a floating-point type; nil for any other.
    package static func encode(_ values: [Float], as dtype: DType) -> Data? {
        switch dtype {
        case .float64: narrow(values) { Double($0).bitPattern.littleEndian }
        case .float32: narrow(values) { $0.bitPattern.littleEndian }
        case .float16: narrow(values) { Float16($0).bitPattern.littleEndian }
        case .bfloat16: narrow(values) { BFloat16($0).bitPattern.littleEndian }
        case .float8E4M3: narrow(values) { Float8E4M3($0).bitPattern }
        case .float8E5M2: narrow(values) { Float8E5M2($0).bitPattern }
        case .int64, .int32, .int16, .int8, .uint64, .uint32, .uint16, .uint8, .bool: nil
        }
    }

    @inline(__always)
    private static func narrow<Bits: FixedWidthInteger & BitwiseCopyable>(_ values: [Float], _ convert: (Float) -> Bits) -> Data {
        let size = MemoryLayout<Bits>.size
        var data = Data(count: values.count * size)
        var bytes = data.mutableBytes
        for index in values.indices {
            bytes.storeBytes(of: convert(values[index]), toByteOffset: index &* size, as: Bits.self)
        }
        return data
    }
}
