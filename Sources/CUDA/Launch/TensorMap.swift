import CCUDA

/// How the tensor memory accelerator reads or writes boxes of a tensor (compute capability 9.0 and up): 128 bytes that a kernel takes by value,
/// as `const __grid_constant__`.
///
/// Dimensions are given from the innermost, which is contiguous, outwards. The map holds the tensor's address: it is valid as long as that is.
@usableFromInline
package struct TensorMap: Sendable, BitwiseCopyable {
    /// Element types, with the numbers of CUtensorMapDataType.
    package enum Element: UInt32, Sendable {
        case uint8 = 0
        case uint16 = 1
        case uint32 = 2
        case int32 = 3
        case float16 = 6
        case float32 = 7
        case bfloat16 = 9

        package var byteCount: Int {
            switch self {
            case .uint8: 1
            case .uint16, .float16, .bfloat16: 2
            case .uint32, .int32, .float32: 4
            }
        }
    }

    /// How 16-byte pieces are mixed within rows of shared memory, so that columns are read without bank conflicts.
    package enum Swizzle: UInt32, Sendable {
        case none = 0
        case bytes32 = 1
        case bytes64 = 2
        case bytes128 = 3

        /// The widest row of a box, in bytes.
        var rowByteCount: Int {
            switch self {
            case .none: Int.max
            case .bytes32: 32
            case .bytes64: 64
            case .bytes128: 128
            }
        }
    }

    /// The size of the pieces that a miss fetches into L2.
    package enum Promotion: UInt32, Sendable {
        case none = 0
        case bytes64 = 1
        case bytes128 = 2
        case bytes256 = 3
    }

    private let words: InlineArray<16, UInt64>

    /// A map of nothing, for a parameter that a variant of a kernel does not use.
    package static let unused = TensorMap(words: InlineArray(repeating: 0))

    private init(words: InlineArray<16, UInt64>) { self.words = words }

    /// Describes boxes of a tensor. What a box reads outside the tensor is zero; what it writes there is dropped.
    ///
    /// - Parameters:
    ///   - sizes: Elements in each of 1 to 5 dimensions, innermost first.
    ///   - strides: Bytes from one index to the next, for every dimension but the innermost: multiples of 16.
    ///   - box: Elements of a box in each dimension, 1 to 256; its innermost extent takes a multiple of 16 bytes, and at most the swizzle's row.
    package init(
        _ address: DeviceAddress, element: Element, sizes: [Int], strides: [Int], box: [Int], swizzle: Swizzle = .none,
        promotion: Promotion = .bytes128, context: Context
    ) throws(CUDAError) {
        let device = context.device
        guard device.computeCapability.major >= 9 else {
            throw CUDAError(.invalidArgument, "tensor maps need compute capability 9.0; \(device) has \(device.computeCapability)")
        }
        try Self.check(address, element, sizes, strides, box, swizzle)
        var words = InlineArray<16, UInt64>(repeating: 0)
        let status = withUnsafeMutableBytes(of: &words) { bytes -> Int32 in
            guard let base = bytes.baseAddress else { return 1 }
            return apus_driver_encode_tensor_map(
                context.table, base, element.rawValue, UInt32(sizes.count), address.bits, sizes.map { UInt64($0) },
                // One dimension has no stride, but the driver wants an array all the same.
                strides.isEmpty ? [16] : strides.map { UInt64($0) }, box.map { UInt32($0) }, sizes.map { _ in 1 }, swizzle.rawValue,
                promotion.rawValue, 0)
        }
        try context.driver.check(
            status, "cuTensorMapEncodeTiled", "a tensor map of sizes \(sizes), strides \(strides), box \(box) at \(address)")
        self.init(words: words)
    }

    /// The driver answers every one of these with "invalid argument".
    package static func check(
        _ address: DeviceAddress, _ element: Element, _ sizes: [Int], _ strides: [Int], _ box: [Int], _ swizzle: Swizzle
    ) throws(CUDAError) {
        func refuse(_ reason: String) throws(CUDAError) { throw CUDAError(.invalidArgument, "tensor map: \(reason)") }
        guard (1...5).contains(sizes.count) else { return try refuse("\(sizes.count) dimensions; 1 to 5 are possible") }
        guard strides.count == sizes.count - 1 else {
            return try refuse(
                "\(strides.count) strides for \(sizes.count) dimensions; the innermost has none, so expected \(sizes.count - 1)")
        }
        guard box.count == sizes.count else { return try refuse("a box of \(box.count) dimensions for a tensor of \(sizes.count)") }
        guard address.bits % 16 == 0, address.bits != 0 else { return try refuse("the address \(address) is not a multiple of 16 bytes") }
        for (index, size) in sizes.enumerated() where size < 1 || size > 1 << 32 {
            return try refuse("size \(size) of dimension \(index) is not within 1 to 2^32")
        }
        for (index, stride) in strides.enumerated() where stride < 16 || stride % 16 != 0 || stride >= 1 << 40 {
            return try refuse("stride \(stride) of dimension \(index + 1) is not a multiple of 16 bytes below 2^40")
        }
        for (index, extent) in box.enumerated() where extent < 1 || extent > 256 {
            return try refuse("box extent \(extent) of dimension \(index) is not within 1 to 256")
        }
        let row = box[0] * element.byteCount
        guard row % 16 == 0 else { return try refuse("a box row of \(row) bytes is not a multiple of 16") }
        guard row <= swizzle.rowByteCount else {
            return try refuse("a box row of \(row) bytes is wider than the swizzle's \(swizzle.rowByteCount)")
        }
    }
}
