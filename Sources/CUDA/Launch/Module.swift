import CCUDA

/// Compiled kernels, loaded onto one GPU. It stays loaded as long as it or one of its kernels lives; work that uses it must have ended by then.
package final class Module: Sendable {
    package let context: Context
    /// The kernels' names in the binary, by the expression that asked for them.
    private let loweredNames: [String: String]
    private let title: String
    private let image: KernelImage

    // Safe to share: the handle never changes, and libcuda is thread-safe.
    nonisolated(unsafe) let handle: apus_module

    /// Loads what the compiler made. Cost: about a millisecond.
    package convenience init(_ kernels: CompiledKernels, in context: Context) throws(CUDAError) {
        try self.init(cubin: kernels.cubin, title: kernels.name, loweredNames: kernels.loweredNames, in: context)
    }

    package init(cubin: [UInt8], title: String, loweredNames: [String: String] = [:], in context: Context) throws(CUDAError) {
        // The driver reads the sizes out of the image itself, so an image that is none must not reach it.
        guard cubin.count > 64, cubin.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else {
            throw CUDAError(.invalidArgument, "\(title) is no compiled kernel: \(cubin.count) bytes without an ELF header")
        }
        try context.activate()
        var module: apus_module?
        let status = cubin.withUnsafeBytes { bytes -> Int32 in
            guard let base = bytes.baseAddress else { return 1 }
            return context.table.pointee.loadModule(&module, base)
        }
        try context.driver.check(status, "cuModuleLoadData", "loading \(title)")
        guard let module else { throw context.driver.error(999, "cuModuleLoadData", "loading \(title)") }
        self.context = context
        self.loweredNames = loweredNames
        self.title = title
        image = KernelImage(cubin)
        handle = module
    }

    deinit {
        try? context.activate()
        _ = context.table.pointee.unloadModule(handle)
    }

    /// A kernel, by the name that it has in the source (`extern "C"`) or by the name expression that the compiler was given.
    package func kernel(_ name: String) throws(CUDAError) -> Kernel {
        try context.activate()
        var function: apus_function?
        let symbol = loweredNames[name] ?? name
        let status = context.table.pointee.moduleFunction(&function, handle, symbol)
        try context.driver.check(status, "cuModuleGetFunction", "kernel '\(name)' of \(title)")
        guard let function else { throw context.driver.error(500, "cuModuleGetFunction", "kernel '\(name)' of \(title)") }
        return try Kernel(function, name: name, parameterSizes: image.parameterSizes[symbol], module: self)
    }

    /// A `__device__` or `__constant__` variable of the module.
    package func global(_ name: String) throws(CUDAError) -> DeviceRegion {
        try context.activate()
        var pointer: apus_device_pointer = 0
        var byteCount = 0
        let status = context.table.pointee.moduleGlobal(&pointer, &byteCount, handle, loweredNames[name] ?? name)
        try context.driver.check(status, "cuModuleGetGlobal", "variable '\(name)' of \(title)")
        return DeviceRegion(address: DeviceAddress(bits: pointer), byteCount: byteCount)
    }
}
