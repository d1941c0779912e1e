import CUDA
import Foundation
import Operators
import Tensors
import Testing
import Transformer

/// What is made ready before the first answer is not compiled by it: on a driver whose kernels do nothing, by a compiler that counts.
@Suite(.enabled(if: FakeGPU.clang != nil, "needs clang on the search path")) struct DecodePreparationTests {
    /// - Parameter positions: of a step of the form that guesses, as its kernel would tell them.
    private func executor(_ compiler: Compiler, positions: Int) throws -> CUDAExecutor {
        var settings = DecodeFaultTests.sizes
        settings["FAKE_DECODE_TOKENS"] = "8"
        settings["FAKE_LOOKUP"] = "16,16,\(positions),512"
        var spec = DeviceMemoryTests.spec
        spec.maximumPositions = 32
        return try CUDAExecutor(
            spec: spec, weights: DeviceMemoryTests.weights(.bfloat16), device: FakeGPU.device(memory: 64 << 20, settings: settings),
            decoding: .resident, compiler: compiler)
    }

    /// Tokens of an answer with so many guesses a step.
    private func answer(_ executor: CUDAExecutor, guesses: Int) throws -> Int {
        let session = try #require(try executor.makeSession() as? any ResidentDecoderSession)
        var count = 0
        let lookup = guesses > 0 ? DeviceLookup(history: [1, 2, 1], guesses: guesses) { _ in } : nil
        _ = try session.decodeGreedily(from: 1, limit: 5, stops: [], sampleable: 40, lookup: lookup) { _ in
            count += 1
            return true
        }
        return count
    }

    @Test(arguments: [(guesses: 1, positions: 2), (2, 4), (3, 4), (15, 4)])
    func theFirstAnswerWithGuessesCompilesNothing(guesses: Int, positions: Int) throws {
        try FakeCompiler.withFolder { folder in
            // Beside the form that does not guess, or the compiler fails.
            let compiler = try FakeCompiler.make(in: folder, together: 2)
            let executor = try executor(compiler, positions: positions)
            try executor.prepare(draws: false, guesses: guesses)
            let (count, byteCount) = (compiler.compilationCount, executor.decodeForm?.byteCount)
            #expect(try answer(executor, guesses: guesses) == 5)
            #expect(compiler.compilationCount == count)
            #expect(executor.decodeForm?.byteCount == byteCount)
            try executor.prepare(draws: false, guesses: guesses)
            #expect(compiler.compilationCount == count)
        }
    }

    @Test func whatIsNotForeseenIsCompiledWhenItIsAskedFor() throws {
        try FakeCompiler.withFolder { folder in
            let compiler = try FakeCompiler.make(in: folder)
            let executor = try executor(compiler, positions: 4)
            try executor.prepare(draws: false, guesses: 0)
            let count = compiler.compilationCount
            #expect(try answer(executor, guesses: 0) == 5)
            #expect(compiler.compilationCount == count)
            #expect(try answer(executor, guesses: 3) == 5)
            #expect(compiler.compilationCount == count + 1)
            // An engine that is there already is given the form later.
            let other = try self.executor(compiler, positions: 4)
            _ = try other.makeSession()
            let before = other.decodeForm?.byteCount ?? 0
            try other.prepare(draws: false, guesses: 3)
            #expect((other.decodeForm?.byteCount ?? 0) > before)
        }
    }

    /// A form that says otherwise than it was compiled for is refused before it runs.
    @Test func aFormOfOtherPositionsIsRefused() throws {
        try FakeCompiler.withFolder { folder in
            let executor = try executor(FakeCompiler.make(in: folder), positions: 2)
            let error = #expect(throws: TransformerError.self) { try executor.prepare(draws: false, guesses: 3) }
            #expect(error?.code == .unsupportedModel)
        }
    }
}
