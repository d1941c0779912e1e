/// What the compiler made of one source for one architecture.
package struct CompiledKernels: Sendable, Equatable {
    /// The source's path.
    package let name: String
    package let architecture: String
    /// The machine code, an ELF image that ``Module`` loads.
    package let cubin: [UInt8]
    /// Names in the machine code, by the name expression that asked for them.
    package let loweredNames: [String: String]
    /// What NVRTC and the assembler said.
    package let log: String

    /// What each kernel needs, in the order of the log.
    package var figures: [KernelFigures] { KernelFigures.read(log, names: loweredNames) }

    /// Warnings of the compiler, and the assembler's remarks about lost speed (serialised wgmma, above all).
    package var warnings: [String] {
        log.split(separator: "\n").filter { $0.contains(": warning") || $0.contains("Potential Performance Loss") }.map(String.init)
    }
}

/// What one kernel takes of a multiprocessor, as the assembler reports it.
package struct KernelFigures: Sendable, Equatable {
    /// The kernel's name, or the name expression that it was made from.
    package let name: String
    package private(set) var registerCount = 0
    /// Shared memory that the kernel declares itself, in bytes.
    package private(set) var sharedByteCount = 0
    /// Stack of a thread, in bytes: indexed arrays and spilled registers.
    package private(set) var stackByteCount = 0
    package private(set) var spillStoreByteCount = 0
    package private(set) var spillLoadByteCount = 0

    package var spills: Bool { spillStoreByteCount > 0 || spillLoadByteCount > 0 }

    /// Reads the lines that `--ptxas-options=-v` adds to the log.
    static func read(_ log: String, names: [String: String]) -> [KernelFigures] {
        var expressions: [String: String] = [:]
        for (expression, name) in names { expressions[name] = expression }
        var figures: [String: KernelFigures] = [:]
        var order: [String] = []
        // A function that was not inlined has a line of properties too, but is no kernel.
        var entry: String?
        var function: String?
        for line in log.split(separator: "\n") {
            if line.contains("Compiling entry function '"), let name = line.split(separator: "'").dropFirst().first {
                let name = String(name)
                entry = name
                function = name
                if figures[name] == nil { order.append(name) }
                figures[name] = KernelFigures(name: expressions[name] ?? name)
            } else if let range = line.firstRange(of: "Function properties for ") {
                function = String(line[range.upperBound...])
            } else if let entry {
                if function == entry || line.contains("Used ") { figures[entry]?.add(line) }
            }
        }
        return order.compactMap { figures[$0] }
    }

    private mutating func add(_ line: Substring) {
        let words = line.split(whereSeparator: { $0 == " " || $0 == "," })
        for (index, word) in words.enumerated() {
            guard let number = Int(word) else { continue }
            let next = words[(index + 1)...].prefix(3).joined(separator: " ")
            if next.hasPrefix("registers") {
                registerCount = number
            } else if next.hasPrefix("bytes smem") {
                sharedByteCount = number
            } else if next.hasPrefix("bytes stack frame") {
                stackByteCount = number
            } else if next.hasPrefix("bytes spill stores") {
                spillStoreByteCount = number
            } else if next.hasPrefix("bytes spill loads") {
                spillLoadByteCount = number
            }
        }
    }
}
