import Apus
import Foundation
import Synchronization
import Testing
import Transformer

/// Batches shared by several executors, and batches on their way together.
@Suite struct EncodeQueueTests {
    /// Gives each sequence its first id, after a while that differs.
    private final class Echo: ModelExecutor, Sendable {
        let batchesInFlight: Int
        let failing: Int32?
        let open = Atomic(0)
        let mostOpen = Atomic(0)
        let count = Atomic(0)

        init(inFlight: Int, failing: Int32? = nil) {
            batchesInFlight = inFlight
            self.failing = failing
        }

        var spec: TransformerSpec { fatalError("not asked for") }
        var deviceDescription: String { "echo" }
        func makeSession() throws -> any DecoderSession { throw CocoaError(.featureUnsupported) }
        func encode(_ batch: TokenBatch, head: EncoderHead) throws -> [Float] { try startEncoding(batch, head: head).wait() }

        func startEncoding(_ batch: TokenBatch, head: EncoderHead) throws -> EncodingTask {
            count.add(1, ordering: .relaxed)
            let now = open.add(1, ordering: .relaxed).newValue
            _ = mostOpen.max(now, ordering: .relaxed)
            return EncodingTask { [self] in
                defer { open.subtract(1, ordering: .relaxed) }
                if let failing, batch.ids.contains(failing) { throw TransformerError(.nonFinite, "batch of \(failing)") }
                Thread.sleep(forTimeInterval: Double(batch.ids[0] % 3) / 1000)
                return (0..<batch.sequenceCount).map { Float(batch.ids[batch.offsets[$0]]) }
            }
        }
    }

    @Test(arguments: [1, 2, 4], [1, 3]) func everyBatchComesOnce(executors: Int, inFlight: Int) throws {
        let echoes = (0..<executors).map { _ in Echo(inFlight: inFlight) }
        var results: [Int: [Float]] = [:]
        try EncodeQueue(executors: echoes, head: EncoderHead(pooling: .mean)).run(
            100, make: { TokenBatch([[Int32($0)], [Int32($0) + 1000]]) }
        ) { index, vectors in
            #expect(results[index] == nil)
            results[index] = vectors
        }
        #expect(results.count == 100)
        for (index, vectors) in results { #expect(vectors == [Float(index), Float(index) + 1000]) }
        for echo in echoes {
            #expect(echo.mostOpen.load(ordering: .relaxed) <= inFlight)
            #expect(echo.open.load(ordering: .relaxed) == 0)
        }
        if executors == 1 { #expect(echoes[0].mostOpen.load(ordering: .relaxed) == inFlight) }
    }

    @Test(arguments: [1, 3]) func anErrorEndsTheRun(executors: Int) throws {
        let echoes = (0..<executors).map { _ in Echo(inFlight: 2, failing: 20) }
        let queue = EncodeQueue(executors: echoes, head: EncoderHead(pooling: .mean))
        let error = #expect(throws: TransformerError.self) {
            try queue.run(1000, make: { TokenBatch([[Int32($0)]]) }) { _, _ in }
        }
        #expect(error?.message == "batch of 20")
        var started = 0
        for echo in echoes { started += echo.count.load(ordering: .relaxed) }
        #expect(started < 500)
        // What the caller throws ends it too.
        #expect(throws: CocoaError.self) {
            try queue.run(1000, make: { _ in TokenBatch([[1]]) }) { _, _ in throw CocoaError(.userCancelled) }
        }
    }

    @Test func noBatchesNoWork() throws {
        for count in [1, 2] {
            try EncodeQueue(executors: (0..<count).map { _ in Echo(inFlight: 1) }, head: EncoderHead(pooling: .mean)).run(
                0, make: { _ in TokenBatch() }
            ) { _, _ in Issue.record("a batch came") }
        }
    }
}
