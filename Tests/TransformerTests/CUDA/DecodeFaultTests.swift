import CUDA
import Foundation
import Operators
import Tensors
import Testing
import Transformer

/// What the resident engine makes of a GPU that refuses, lacks memory, or goes: on a driver whose kernels do nothing.
@Suite(.enabled(if: FakeGPU.isAvailable, FakeGPU.reason)) struct DecodeFaultTests {
    private static let spec = DeviceMemoryTests.spec
    /// As the kernel would tell them, but for few and small chunks.
    static var sizes: [String: String] {
        ["FAKE_SIZES": "1024,384,16,16,4,64,384,4096,\(MemoryLayout<DecodeArguments>.stride),4096,4096"]
    }

    private func executor(
        memory: Int = 64 << 20, _ settings: [String: String] = [:], decoding: DecodeMode = .resident, positions: Int = 6
    ) throws -> CUDAExecutor {
        let device = try FakeGPU.device(memory: memory, settings: Self.sizes.merging(settings) { $1 })
        var spec = Self.spec
        spec.maximumPositions = positions
        return try CUDAExecutor(spec: spec, weights: DeviceMemoryTests.weights(.bfloat16), device: device, decoding: decoding)
    }

    private func message(_ code: CUDAError.Code, _ body: () throws -> Void) -> String {
        do {
            try body()
            return "no error"
        } catch {
            let error = error as? CUDAError ?? (error as? OperatorError)?.cuda
            #expect(error?.code == code)
            return error?.message ?? ""
        }
    }

    @Test func aPositionPastTheLastIsRefused() throws {
        let session = try executor().makeSession()
        _ = try session.extend([1, 2, 3, 4])
        _ = try session.extend([5, 6])
        #expect(session.position == 6)
        for ids in [[7], [7, 8, 9, 1, 2]] as [[Int32]] {
            let error = #expect(throws: TransformerError.self) { try session.extend(ids) }
            #expect(error?.code == .contextExceeded)
            #expect(session.position == 6)
        }
        let device = try #require(session as? any ResidentDecoderSession)
        let error = #expect(throws: TransformerError.self) { try device.decodeGreedily(from: 7, limit: 1, stops: [], sampleable: 40) { _ in true } }
        #expect(error?.code == .contextExceeded)
    }

    private func session(positions: Int) throws -> any ResidentDecoderSession {
        try #require(try executor(["FAKE_DECODE_TOKENS": "512"], positions: positions).makeSession() as? any ResidentDecoderSession)
    }

    @Test func tokensComeThroughAsManyLaunchesAsTheyNeed() throws {
        let session = try self.session(positions: 2000)
        var tokens: [Int32] = []
        let isOver = try session.decodeGreedily(from: 1, limit: 1100, stops: [], sampleable: 40) {
            tokens.append($0)
            return true
        }
        #expect(isOver)
        #expect(tokens == (0..<1100).map { Int32($0 % 512 % 32) })
        #expect(session.position == 1100)
    }

    @Test func tokensEndWhereTheyShould() throws {
        let session = try self.session(positions: 600)
        func count(limit: Int, stops: [Int32] = [], take: Int = .max) throws -> Int {
            session.rewind(to: 0)
            var count = 0
            _ = try session.decodeGreedily(from: 1, limit: limit, stops: stops, sampleable: 40) { _ in
                count += 1
                return count < take
            }
            #expect(session.position == count)
            return count
        }
        #expect(try count(limit: 7) == 7)
        #expect(try count(limit: 100, stops: [9]) == 10)
        #expect(try count(limit: 100, take: 3) == 3)
        // The model's last position.
        #expect(try count(limit: 5000) == 600)
        struct Stop: Error {}
        session.rewind(to: 0)
        #expect(throws: Stop.self) { try session.decodeGreedily(from: 1, limit: 3, stops: [], sampleable: 40) { _ in throw Stop() } }
        #expect(try count(limit: 7) == 7)
    }

    /// It would wait for itself.
    @Test func whoTakesTokensCannotAskForOthers() throws {
        let executor = try self.executor(["FAKE_DECODE_TOKENS": "512"], positions: 100)
        let session = try #require(try executor.makeSession() as? any ResidentDecoderSession)
        let other = try #require(try executor.makeSession() as? any ResidentDecoderSession)
        let error = #expect(throws: TransformerError.self) {
            try session.decodeGreedily(from: 1, limit: 3, stops: [], sampleable: 40) { _ in
                try other.decodeGreedily(from: 1, limit: 3, stops: [], sampleable: 40) { _ in true }
            }
        }
        #expect(error?.code == .busy)
        #expect(try other.decodeGreedily(from: 1, limit: 3, stops: [], sampleable: 40) { _ in true })
    }

    @Test func aKernelThatEndsEarlyIsNoticed() throws {
        let session = try #require(try executor().makeSession() as? any ResidentDecoderSession)
        let text = message(.kernelFault) { _ = try session.decodeGreedily(from: 7, limit: 3, stops: [], sampleable: 40) { _ in true } }
        #expect(text.contains("ended before step 0"))
        #expect(session.position == 0)
    }

    @Test func refusedLaunchesNameThePhase() throws {
        #expect(message(.launchRefused) { _ = try executor(["FAKE_LAUNCH": "701"]).makeSession() }.contains("packing the weights"))
        let session = try executor(["FAKE_DECODE_LAUNCH": "701"]).makeSession()
        #expect(message(.launchRefused) { _ = try session.extend([1]) }.contains("launching the decode kernel at position 0"))
        #expect(session.position == 0)
    }

    @Test func aLostDeviceNamesThePhase() throws {
        let session = try executor(["FAKE_DECODE_FAULT": "700"]).makeSession()
        #expect(message(.kernelFault) { _ = try session.extend([1]) }.contains("waiting for the decode kernel"))
        let other = try #require(try executor(["FAKE_DECODE_FAULT": "700"]).makeSession() as? any ResidentDecoderSession)
        let text = message(.kernelFault) { _ = try other.decodeGreedily(from: 7, limit: 3, stops: [], sampleable: 40) { _ in true } }
        #expect(text.contains("waiting for a token"))
    }

    @Test func tooLittleMemoryTakesTheLayers() throws {
        // Room for the weights, none for two layers of four chunks a block.
        let memory = 1 << 20
        #expect(message(.outOfMemory) { _ = try executor(memory: memory).makeSession() }.contains("packing the weights"))
        let automatic = try executor(memory: memory, decoding: .automatic)
        #expect(automatic.decodeForm?.isResident == true)
        let session = try automatic.makeSession()
        #expect(automatic.decodeForm?.isResident == false)
        #expect(automatic.decodeForm?.reason?.contains("packing the weights") == true)
        let device = try #require(session as? any ResidentDecoderSession)
        #expect(try !device.decodeGreedily(from: 7, limit: 3, stops: [], sampleable: 40) { _ in true })
    }

    @Test func sessionsGiveTheirMemoryBack() throws {
        let executor = try self.executor()
        func held() throws -> Int {
            for _ in 0..<50 { _ = try executor.makeSession().extend([1, 2, 3]) }
            try executor.context.context.trimMemory()
            return try executor.context.context.memory().free
        }
        let first = try held()
        #expect(try held() == first)
    }

    @Test func whatIsAskedForIsReported() throws {
        #expect(try executor(decoding: .layers).decodeForm == DecodeForm(isResident: false, reason: nil, byteCount: 0))
        let resident = try executor(decoding: .automatic)
        _ = try resident.makeSession()
        #expect(resident.decodeForm?.isResident == true)
        // Two layers of 16 chunks a block and four of the head, and norms, exchange area and logits.
        #expect((resident.decodeForm?.byteCount ?? 0) > 36 * 16 * 4096)
    }
}
