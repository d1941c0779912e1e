package import CUDA
package import Tensors

/// What one call of a piece of work must do at the least: its operations and its bytes, each input read once and each result written once.
package struct Work: Sendable, Equatable {
    /// Which peak of the GPU the operations are held against.
    package enum Unit: String, Sendable, CaseIterable {
        /// bf16 and fp16 on the tensor cores.
        case bf16
        /// 8-bit formats on the tensor cores.
        case fp8
        /// Plain fp32.
        case fp32
    }

    /// A multiply-add counts as two; 0 for work that only moves bytes.
    package var operations: Double
    package var bytes: Double
    package var unit: Unit
    /// What users count, such as tokens; nil where there is nothing but calls.
    package var items: Double?
    package var itemName: String?

    package init(operations: Double = 0, bytes: Double, unit: Unit = .bf16, items: Double? = nil, itemName: String? = nil) {
        self.operations = operations
        self.bytes = bytes
        self.unit = unit
        self.items = items
        self.itemName = itemName
    }

    /// C[M, N] = A[M, K] * B[N, K]^T: 2 M N K operations; both operands, the result, and the scales, bias or residual that `extraBytes` counts.
    package static func product(
        m: Int, n: Int, k: Int, input: DType, output: DType, extraBytes: Int = 0
    ) -> Work {
        let elements = (a: Double(m) * Double(k), b: Double(n) * Double(k), c: Double(m) * Double(n))
        return Work(
            operations: 2 * elements.c * Double(k),
            bytes: (elements.a + elements.b) * Double(input.byteCount) + elements.c * Double(output.byteCount) + Double(extraBytes),
            unit: unit(input))
    }

    /// act(x G^T) * (x U^T): 4 M I H operations, x [M, H], both weights [I, H] and the result [M, I].
    package static func gatedProduct(m: Int, intermediate: Int, hidden: Int, dtype: DType) -> Work {
        var work = product(m: m, n: 2 * intermediate, k: hidden, input: dtype, output: dtype)
        work.bytes -= Double(m) * Double(intermediate) * Double(dtype.byteCount)
        return work
    }

    /// Work without arithmetic worth counting: every tensor that is read or written, in bytes.
    package static func elementwise(_ byteCounts: Int...) -> Work {
        Work(bytes: byteCounts.reduce(0) { $0 + Double($1) })
    }

    private static func unit(_ dtype: DType) -> Unit {
        switch dtype {
        case .float8E4M3, .float8E5M2: .fp8
        case .float32: .fp32
        default: .bf16
        }
    }
}

/// The rates that measurements are held against: those of the GPU at hand, or rates that the caller gives. There is no default GPU.
package struct Peaks: Sendable, Equatable {
    /// Operations per second.
    package var bf16: Double?
    package var fp8: Double?
    package var fp32: Double?
    /// Bytes per second.
    package var bandwidth: Double?
    /// Where the rates come from, in words.
    package var source: String

    package init(bf16: Double? = nil, fp8: Double? = nil, fp32: Double? = nil, bandwidth: Double? = nil, source: String) {
        self.bf16 = bf16
        self.fp8 = fp8
        self.fp32 = fp32
        self.bandwidth = bandwidth
        self.source = source
    }

    /// Rates on paper; all of them nil for a GPU that the table does not know.
    package init(_ device: Device) {
        let peaks = device.peaks
        self.init(
            bf16: peaks?.bf16, fp8: peaks?.fp8, fp32: peaks?.fp32, bandwidth: peaks?.bandwidth,
            source: "\(device.name) on paper\(peaks.map { " at \($0.clockKilohertz / 1000) MHz" } ?? ": unknown")")
    }

    package func arithmetic(_ unit: Work.Unit) -> Double? {
        switch unit {
        case .bf16: bf16
        case .fp8: fp8
        case .fp32: fp32
        }
    }
}
