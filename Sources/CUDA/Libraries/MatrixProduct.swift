import CCUDA

/// D[M, N] = scale * A[M, K] * B[N, K]^T by cuBLASLt, all row-major, fp32 accumulation: the form of a linear layer, and the one that fp8 requires.
package struct MatrixProduct: Sendable, Hashable {
    package enum Element: UInt32, Sendable {
        case float32 = 0
        case float16 = 2
        case bfloat16 = 14
        case e4m3 = 28
        case e5m2 = 29

        var isFloat8: Bool { self == .e4m3 || self == .e5m2 }
    }

    package var m: Int
    package var n: Int
    package var k: Int
    package var a: Element
    package var b: Element
    package var output: Element
    /// fp8 only: trades bits of the sum for speed, as the tensor cores do by themselves.
    package var fastAccumulation: Bool

    package init(m: Int, n: Int, k: Int, a: Element, b: Element, output: Element, fastAccumulation: Bool = false) {
        self.m = m
        self.n = n
        self.k = k
        self.a = a
        self.b = b
        self.output = output
        self.fastAccumulation = fastAccumulation
    }
}

/// One product made ready, with the algorithms that cuBLASLt proposes for it, best guess first.
package final class MatrixPlan: Sendable {
    package let product: MatrixProduct
    /// How many algorithms there are to choose from; at least one.
    package let algorithmCount: Int

    private let library: MatrixLibrary
    private let workspace: DeviceBuffer
    private let algorithms: [apus_matrix_algorithm]
    // Safe to share: nothing changes after init.
    private nonisolated(unsafe) let operation: apus_matrix_operation
    private nonisolated(unsafe) let layouts: (weight: apus_matrix_layout, input: apus_matrix_layout, output: apus_matrix_layout)

    /// - Parameters:
    ///   - scales: fp8 only: the addresses of the fp32 scales of A and B on the GPU.
    ///   - maximumAlgorithms: How many proposals to ask for, so that a benchmark can try them.
    package init(
        _ product: MatrixProduct, scales: (a: DeviceAddress, b: DeviceAddress)? = nil, maximumAlgorithms: Int = 8,
        workspaceByteCount: Int = 64 << 20, library: MatrixLibrary
    ) throws(CUDAError) {
        guard product.m > 0, product.n > 0, product.k > 0 else {
            throw CUDAError(.invalidArgument, "a matrix product of \(product.m) x \(product.n) x \(product.k) is empty")
        }
        guard (scales != nil) == (product.a.isFloat8 || product.b.isFloat8) else {
            throw CUDAError(.invalidArgument, "a matrix product takes scales with fp8 inputs, and with those only")
        }
        let workspace = try DeviceBuffer(byteCount: workspaceByteCount, in: library.context)
        let table = library.table
        var handles = Handles(table)
        do throws(CUDAError) {
            // cuBLASLt counts in columns: the transpose of D is B * A^T there, with B transposed.
            var operation: apus_matrix_operation?
            try library.check(
                table.pointee.createOperation(&operation, UInt32(apus_matrix_compute_fp32), UInt32(apus_matrix_type_fp32)),
                "cublasLtMatmulDescCreate")
            guard let operation else { throw CUDAError(.call, "cublasLtMatmulDescCreate gave no operation") }
            handles.operation = operation
            func set<Value: BitwiseCopyable>(_ attribute: Int, _ value: Value) throws(CUDAError) {
                var value = value
                try library.check(
                    table.pointee.setOperation(operation, UInt32(attribute), &value, MemoryLayout<Value>.size),
                    "cublasLtMatmulDescSetAttribute")
            }
            try set(apus_matrix_operation_transpose_a, Int32(1))
            try set(apus_matrix_operation_transpose_b, Int32(0))
            if let scales {
                try set(apus_matrix_operation_a_scale, scales.b.bits)
                try set(apus_matrix_operation_b_scale, scales.a.bits)
                try set(apus_matrix_operation_fast_accumulation, Int8(product.fastAccumulation ? 1 : 0))
            }
            func layout(_ type: MatrixProduct.Element, _ rows: Int, _ columns: Int) throws(CUDAError) -> apus_matrix_layout {
                var layout: apus_matrix_layout?
                try library.check(
                    table.pointee.createLayout(&layout, type.rawValue, UInt64(rows), UInt64(columns), Int64(rows)),
                    "cublasLtMatrixLayoutCreate")
                guard let layout else { throw CUDAError(.call, "cublasLtMatrixLayoutCreate gave no layout") }
                handles.layouts.append(layout)
                return layout
            }
            let weight = try layout(product.b, product.k, product.n)
            let input = try layout(product.a, product.k, product.m)
            let output = try layout(product.output, product.n, product.m)
            algorithms = try Self.choose(
                library, operation, (weight, input, output), workspaceByteCount: workspaceByteCount, maximum: maximumAlgorithms)
            guard !algorithms.isEmpty else {
                throw CUDAError(
                    .call,
                    "cuBLASLt has no algorithm for \(product.m) x \(product.n) x \(product.k) (\(product.a), \(product.b) to \(product.output))"
                )
            }
            layouts = (weight, input, output)
            self.operation = operation
        } catch {
            handles.destroy()
            throw error
        }
        self.product = product
        self.library = library
        self.workspace = workspace
        algorithmCount = algorithms.count
    }

    deinit {
        var handles = Handles(library.table)
        handles.operation = operation
        handles.layouts = [layouts.weight, layouts.input, layouts.output]
        handles.destroy()
    }

    /// Puts the product into a stream. One plan must not run in two streams at once: its runs share a workspace.
    package func run(
        a: DeviceAddress, b: DeviceAddress, output: DeviceAddress, scale: Float = 1, algorithm: Int = 0, on stream: Stream
    ) throws(CUDAError) {
        guard algorithms.indices.contains(algorithm) else {
            throw CUDAError(.invalidArgument, "there is no algorithm \(algorithm) among \(algorithmCount)")
        }
        try library.context.activate()
        var alpha = scale
        var beta: Float = 0
        var choice = algorithms[algorithm]
        let status = library.table.pointee.multiply(
            library.handle, operation, &alpha, b.bits, layouts.weight, a.bits, layouts.input, &beta, output.bits, layouts.output,
            output.bits,
            layouts.output, &choice, workspace.address.bits, workspace.byteCount, stream.handle)
        try library.check(status, "cublasLtMatmul")
        try stream.didLaunch("cublasLtMatmul")
    }

    private static func choose(
        _ library: MatrixLibrary, _ operation: apus_matrix_operation,
        _ layouts: (weight: apus_matrix_layout, input: apus_matrix_layout, output: apus_matrix_layout), workspaceByteCount: Int,
        maximum: Int
    ) throws(CUDAError) -> [apus_matrix_algorithm] {
        let table = library.table
        var preference: apus_matrix_preference?
        try library.check(table.pointee.createPreference(&preference), "cublasLtMatmulPreferenceCreate")
        guard let preference else { throw CUDAError(.call, "cublasLtMatmulPreferenceCreate gave no preference") }
        defer { _ = table.pointee.destroyPreference(preference) }
        var limit = UInt64(workspaceByteCount)
        try library.check(
            table.pointee.setPreference(preference, UInt32(apus_matrix_preference_workspace), &limit, 8),
            "cublasLtMatmulPreferenceSetAttribute")
        var choices = [apus_matrix_choice](repeating: apus_matrix_choice(), count: max(1, min(maximum, 64)))
        var count: Int32 = 0
        let capacity = Int32(choices.count)
        let status = table.pointee.choose(
            library.handle, operation, layouts.weight, layouts.input, layouts.output, layouts.output, preference, capacity, &choices, &count
        )
        // "Not supported" means that there is no algorithm, which the caller says in its own words.
        let notSupported: Int32 = 15
        if status == notSupported { return [] }
        try library.check(status, "cublasLtMatmulAlgoGetHeuristic")
        return choices.prefix(Int(max(0, count))).filter { $0.status == 0 }.map(\.algorithm)
    }

    /// What is to be destroyed again.
    private struct Handles {
        let table: UnsafeMutablePointer<apus_matrix>
        var operation: apus_matrix_operation?
        var layouts: [apus_matrix_layout] = []

        init(_ table: UnsafeMutablePointer<apus_matrix>) { self.table = table }

        func destroy() {
            if let operation { _ = table.pointee.destroyOperation(operation) }
            for layout in layouts { _ = table.pointee.destroyLayout(layout) }
        }
    }
}
