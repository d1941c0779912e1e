import ArgumentParser
import CUDA
import Dispatch
import Foundation
import Operators
import Synchronization

/// `info --kernels`: what each compiled kernel takes of a multiprocessor.
struct KernelReport {
    /// Compile the operators' usual forms for it; without one the kernels of the cache are listed.
    let architecture: Architecture?

    func run() throws {
        if let architecture { try compile(for: architecture) } else { try list() }
        try Output.standard.close()
    }

    private func list() throws {
        let cache = KernelCache()
        let entries = cache.list().sorted { ($0.architecture, $0.name) < ($1.architecture, $1.name) }
        try header("compiled by")
        for entry in entries {
            for figures in entry.figures { try row(figures, entry.architecture, entry.compiler) }
        }
        try Output.standard.writeLine(
            "\(entries.count) compiled files in \(cache.path ?? "no folder: none of APUS_CACHE, XDG_CACHE_HOME and HOME is set")")
        if entries.isEmpty {
            try Output.standard.writeLine("Kernels are compiled when they are first used; --architecture sm_90a compiles the operators' now.")
        }
    }

    private func compile(for architecture: Architecture) throws {
        let compiler = try Compiler.shared()
        let forms = try OperatorKernels.representative(for: architecture)
        let results = Mutex<[Int: Result<CompiledKernels, any Error>]>([:])
        DispatchQueue.concurrentPerform(iterations: forms.count) { index in
            let form = forms[index]
            let result = Result { try compiler.compile(form.path, constants: form.constants, for: architecture) }
            results.withLock { $0[index] = result.mapError { $0 } }
        }
        try header("for")
        let compiled = results.withLock { $0 }
        var failures = 0
        for (index, form) in forms.enumerated() {
            switch compiled[index] {
            case .success(let kernels):
                for figures in kernels.figures where figures.name == form.entry { try row(figures, kernels.architecture, form.title) }
                for warning in kernels.warnings { try Output.standard.writeLine("  ! \(warning)") }
            case .failure(let error):
                failures += 1
                try Output.standard.writeLine("  ! \(form.title): \(error)")
            case nil: failures += 1
            }
        }
        try Output.standard.writeLine("\(forms.count) forms of kernels by NVRTC \(compiler.nvrtc.version), \(failures) failed")
        if let note = compiler.cache.note { try Output.standard.writeLine(note) }
        if failures > 0 {
            try Output.standard.flush()
            throw ExitCode(1)
        }
    }

    private func header(_ last: String) throws {
        try Output.standard.writeLine(line("kernel", "for", "registers", "shared", "stack", "spilled", last))
    }

    private func row(_ figures: KernelFigures, _ architecture: String, _ title: String) throws {
        let spilled = figures.spillStoreByteCount + figures.spillLoadByteCount
        try Output.standard.writeLine(
            line(
                figures.name, architecture, "\(figures.registerCount)", "\(figures.sharedByteCount)", "\(figures.stackByteCount)",
                spilled == 0 ? "none" : "\(spilled)", title))
    }

    private func line(_ columns: String...) -> String {
        zip(columns, [26, 8, 10, 8, 7, 8, 0]).map { $0.padding(toLength: max($1, $0.count), withPad: " ", startingAt: 0) }.joined(separator: " ")
    }
}
