import ArgumentParser
import Benchmarking
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
        try objects(extra: extra).map { value in
            guard let name = value["name"]?.stringValue, let prefill = value["prefill_tokens_per_second"]?.doubleValue,
                let decode = value["decode_tokens_per_second"]?.doubleValue
            else { throw ValidationError("the peer printed an object without name and figures") }
            return Figures(name: name, prefill: prefill, decode: decode)
        }
    }

    /// Figures of an encoder's forward pass, a shape each.
    func embedFigures(shapes: [String]) throws -> [EmbedBenchmark.PeerFigure] {
        try objects(extra: shapes).map { value in
            guard let name = value["name"]?.stringValue, let shape = value["shape"]?.stringValue, let milliseconds = value["ms"]?.doubleValue,
                milliseconds > 0
            else { throw ValidationError("the peer printed an object without name, shape and ms") }
            return EmbedBenchmark.PeerFigure(name: name, shape: shape, seconds: milliseconds / 1e3)
        }
    }

    /// Times of single tokens, a context each.
    func decodeFigures(contexts: [Int]) throws -> [DecodeBenchmark.PeerFigure] {
        try objects(extra: contexts.map(String.init)).map { value in
            let samples = value["samples_us"]?.arrayValue?.compactMap(\.doubleValue) ?? []
            guard let name = value["name"]?.stringValue, let context = value["context"]?.integerValue, !samples.isEmpty,
                samples.allSatisfy({ $0 > 0 })
            else { throw ValidationError("the peer printed an object without name, context and samples_us") }
            return DecodeBenchmark.PeerFigure(name: name, context: context, samples: samples.map { $0 / 1e6 })
        }
    }

    /// The lines that hold JSON objects.
    private func objects(extra: [String]) throws -> [JSONValue] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words + extra
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        let objects = try String(decoding: data, as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("{") }
            .map { try JSONValue(parsing: String($0)) }
        guard process.terminationStatus != 0 else { return objects }
        let failure = "the peer '\(words.joined(separator: " "))' failed with status \(process.terminationStatus)"
        guard !objects.isEmpty else { throw ValidationError(failure) }
        Notice.write("\(failure); \(objects.count) of its figures came before")
        return objects
    }
}
