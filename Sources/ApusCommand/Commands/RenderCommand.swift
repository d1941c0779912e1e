import Apus
import ArgumentParser
import Foundation
import JSON
import ModelHub

struct RenderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "render", abstract: "Print a conversation as the model's chat template renders it.",
        discussion: "The messages are a JSON array of objects with \"role\" and \"content\", tools a JSON array of function descriptions.")

    @OptionGroup var model: ModelName

    @Option(help: "The messages: a JSON file, or - for standard input.")
    var messages: String

    @Option(help: "A JSON file with the tools that the model may call.")
    var tools: String?

    @Flag(help: "Ask a reasoning model to answer without thinking first.")
    var noThinking = false

    @Flag(help: "Leave out the beginning of the answer at the end.")
    var noGenerationPrompt = false

    func run() async throws {
        let conversation = try Self.readJSON(messages)
        guard let list = conversation.arrayValue ?? conversation["messages"]?.arrayValue else {
            throw ValidationError("'\(messages)' holds a JSON \(conversation.typeName), expected an array of messages")
        }
        let toolList = try tools.map(Self.readJSON)
        let folder = try await model.folder(default: .text, parts: [.tokenizer])
        let text = try ChatRendering(folder: folder).render(
            messages: list, tools: toolList, thinking: noThinking ? false : nil, addGenerationPrompt: !noGenerationPrompt)
        try Output.standard.write(text)
        try Output.standard.close()
    }

    private static func readJSON(_ path: String) throws -> JSONValue {
        let data: Data
        if path == "-" {
            data = FileHandle.standardInput.readDataToEndOfFile()
        } else {
            guard let read = FileManager.default.contents(atPath: path) else { throw ValidationError("cannot read the file '\(path)'") }
            data = read
        }
        do {
            return try JSONValue(parsing: [UInt8](data))
        } catch {
            throw ValidationError("'\(path)': \(error)")
        }
    }
}
