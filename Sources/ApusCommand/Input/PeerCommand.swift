import ArgumentParser
import Foundation
import JSON

/// A peer's benchmark: a command that prints JSON objects with name, prefill_tokens_per_second and decode_tokens_per_second, one a line.
struct PeerCommand {
    struct Figures {
        let name: String
        let prefill: Double
        let decode: Double
    }

    private let words: [String]

    init(commandLine: String) throws {
        words = commandLine.split(separator: " ").map(String.init)
        guard !words.isEmpty else { throw ValidationError("--peer is empty") }
    }

    func run(extra: [String]) throws -> [Figures] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words + extra
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw ValidationError("the peer '\(words.joined(separator: " "))' failed with status \(process.terminationStatus)")
        }
        var all: [Figures] = []
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n") where line.hasPrefix("{") {
            let value = try JSONValue(parsing: String(line))
            guard let name = value["name"]?.stringValue, let prefill = value["prefill_tokens_per_second"]?.doubleValue,
                let decode = value["decode_tokens_per_second"]?.doubleValue
            else { throw ValidationError("the peer printed a line without name and figures: \(line)") }
            all.append(Figures(name: name, prefill: prefill, decode: decode))
        }
        return all
    }
}
