package import CUDA
import Synchronization

/// One form of a kernel: the file, the entry, and the constants that it is compiled for.
package protocol KernelVariant: Hashable, Sendable {
    /// Below Kernels/.
    static var path: String { get }
    var entry: String { get }
    var constants: KernelConstants { get }
    /// Threads of a block.
    var threadCount: Int { get }
    /// Dynamic shared memory of a block, in bytes.
    var sharedByteCount: Int { get }
}

/// A kernel on a GPU, ready for launches.
package struct LoadedKernel: Sendable {
    package let kernel: Kernel
    /// Blocks that one multiprocessor holds.
    package let residentBlocks: Int
}

/// The kernels of one operator that a context has compiled so far.
package final class LoadedKernels<Variant: KernelVariant>: Sendable {
    /// One for each variant, with a lock of its own: two threads that want the same variant compile it once, and others at the same time.
    private final class Entry: Sendable {
        let kernel = Mutex<LoadedKernel?>(nil)
    }

    private let entries = Mutex<[Variant: Entry]>([:])

    package init() {}

    /// The kernel; compiled, or taken from the cache on disk, at its first use. A launch later costs one look-up.
    package func kernel(_ variant: Variant, in context: OperatorContext) throws(OperatorError) -> LoadedKernel {
        let entry = entries.withLock { entries in
            if let entry = entries[variant] { return entry }
            let entry = Entry()
            entries[variant] = entry
            return entry
        }
        return try entry.kernel.withLock { (loaded: inout LoadedKernel?) throws(OperatorError) -> LoadedKernel in
            if let loaded { return loaded }
            let kernel = try OperatorError.wrap(variant.entry) { () throws(CUDAError) in try Self.load(variant, in: context) }
            loaded = kernel
            return kernel
        }
    }

    private static func load(_ variant: Variant, in context: OperatorContext) throws(CUDAError) -> LoadedKernel {
        let compiled = try context.compiler.compile(Variant.path, constants: variant.constants, for: context.architecture)
        let kernel = try Module(compiled, in: context.context).kernel(variant.entry)
        let resident = try kernel.residentBlocksPerMultiprocessor(
            threads: variant.threadCount, sharedByteCount: variant.sharedByteCount)
        return LoadedKernel(kernel: kernel, residentBlocks: max(1, resident))
    }
}

extension KernelConstants {
    /// Macros by name and number.
    package init(_ macros: KeyValuePairs<String, Int>) {
        self.init()
        for (name, value) in macros { define(name, value) }
    }
}
