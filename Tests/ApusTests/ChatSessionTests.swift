import Apus
import Foundation
import Testing

@Suite struct ChatSessionTests {
    private let options = GenerationOptions(maximumTokens: 8, ignoresEndOfSequence: true)

    @Test func aTurnComputesOnlyWhatIsNew() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder)
            let session = try ChatSession(generator, system: "sys")
            let first = try session.respond(to: "one", options: options)
            #expect(first.reusedTokens == 0)
            let second = try session.respond(to: "two", options: options)
            #expect(second.reusedTokens > 0)
            #expect(second.result.timings.prefilledTokens == second.result.promptTokens - second.reusedTokens)
            #expect(session.messages.map(\.role) == [.system, .user, .assistant, .user, .assistant])

            // The same conversation computed afresh gives the same answer.
            let messages = Array(session.messages.dropLast())
            let fresh = try generator.generate(ids: generator.encode(messages: messages), options: options)
            #expect(fresh.text == second.result.text)
        }
    }

    @Test func anAnswerIsStoppedAndTheNextOneAsked() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder)
            let session = try ChatSession(generator)
            var pieces = 0
            let stopped = try session.respond(to: "one", options: options) { _ in
                pieces += 1
                return pieces < 3
            }
            #expect(stopped.result.finishReason == .cancelled)
            #expect(stopped.result.tokens.count == 3)
            let next = try session.respond(to: "two", options: options)
            #expect(next.reusedTokens > 0)
            let fresh = try generator.generate(ids: generator.encode(messages: Array(session.messages.dropLast())), options: options)
            #expect(fresh.tokens == next.result.tokens)
        }
    }

    @Test func clearKeepsTheSystemMessage() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let session = try ChatSession(await Generator(folder), system: "sys")
            _ = try session.respond(to: "one", options: options)
            session.clear()
            #expect(session.messages == [ChatMessage(.system, "sys")])
        }
    }

    @Test func anOvergrownConversationDropsItsOldestTurns() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let session = try ChatSession(await Generator(folder), system: "sys")
            var dropped: [ChatMessage] = []
            for turn in 0..<5 { dropped += try session.respond(to: "message \(turn)", options: options).droppedMessages }
            #expect(dropped.first == ChatMessage(.user, "message 0"))
            #expect(session.messages.first == ChatMessage(.system, "sys"))
            #expect(session.messages.contains(ChatMessage(.user, "message 4")))

            let before = session.messages
            let error = #expect(throws: ApusError.self) { try session.respond(to: String(repeating: "long", count: 60), options: options) }
            #expect(error?.code == .contextExceeded)
            #expect(session.messages == before)
            #expect(throws: Never.self) { try session.respond(to: "short", options: options) }
        }
    }

    @Test func aModelWithoutTemplateIsRefused() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            try FileManager.default.removeItem(atPath: folder + "/chat_template.jinja")
            let error = await #expect(throws: ApusError.self) { try ChatSession(await Generator(folder)) }
            #expect(error?.code == .missingFile)
        }
    }
}
