import CUDA
import Foundation
import Testing

/// Compilations beside one another, and what becomes of those that nobody waits for.
@Suite(.enabled(if: FakeGPU.clang != nil, "needs clang on the search path")) struct CompilationsAheadTests {
    private func requests(_ count: Int) -> [KernelRequest] {
        (0..<count).map { index in
            KernelRequest(KernelSource(path: "Test/Some.cu", text: "// \(index)", headers: []))
        }
    }

    @Test func theyRunBesideOneAnotherAndTheRestOfTheProgram() throws {
        try FakeCompiler.withFolder { folder in
            let compiler = try FakeCompiler.make(in: folder, together: 3)
            let requests = requests(6)
            let architecture = try Architecture("sm_90a")
            let ahead = CompilationsAhead(Array(requests[..<5]), by: compiler, for: architecture, threadCount: 3)
            // One that is under way is waited for, another is made here.
            _ = try compiler.compile(requests[0], for: architecture)
            _ = try compiler.compile(requests[5], for: architecture)
            ahead.wait()
            #expect(compiler.compilationCount == 6)
            for request in requests { #expect(try compiler.isCached(request, for: architecture)) }
        }
    }

    @Test func droppedOnesEndWithWhatHasBegun() throws {
        try FakeCompiler.withFolder { folder in
            let compiler = try FakeCompiler.make(in: folder, milliseconds: 50)
            let requests = requests(40)
            let architecture = try Architecture("sm_90a")
            var ahead: CompilationsAhead? = CompilationsAhead(requests, by: compiler, for: architecture, threadCount: 2)
            ahead?.waitForFirst(of: compiler)
            ahead = nil
            let count = compiler.compilationCount
            #expect(count <= 4)
            // What has begun has ended: its result is there.
            let kept = try requests.filter { try compiler.isCached($0, for: architecture) }
            #expect(kept.count == count)
            Thread.sleep(forTimeInterval: 0.2)
            #expect(compiler.compilationCount == count)
        }
    }
}

extension CompilationsAhead {
    /// Until one has begun.
    fileprivate func waitForFirst(of compiler: Compiler) {
        while compiler.compilationCount == 0 { Thread.sleep(forTimeInterval: 0.001) }
    }
}
