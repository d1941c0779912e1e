import Foundation

/// One run of the built program.
struct CommandLineRun {
    let status: Int32
    let output: String
    let errors: String

    /// The program beside the test bundle; nil when only the tests were built.
    static var program: String? {
        let beside = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("apus").path
        return FileManager.default.isExecutableFile(atPath: beside) ? beside : nil
    }

    init(_ arguments: [String], input: String = "") throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program ?? "apus")
        process.arguments = arguments
        let (standardInput, standardOutput) = (Pipe(), Pipe())
        // Errors go to a file, so that a full pipe of one kind cannot block the other.
        let errorPath = FileManager.default.temporaryDirectory.appendingPathComponent("apus-errors-\(UUID().uuidString)").path
        _ = FileManager.default.createFile(atPath: errorPath, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: errorPath) }
        process.standardInput = standardInput
        process.standardOutput = standardOutput
        process.standardError = FileHandle(forWritingAtPath: errorPath)
        try process.run()
        try standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try standardInput.fileHandleForWriting.close()
        output = String(decoding: standardOutput.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        status = process.terminationStatus
        errors = (try? String(contentsOfFile: errorPath, encoding: .utf8)) ?? ""
    }

    var lines: [Substring] { output.split(separator: "\n") }
}

/// A run of the built program that is written to and read from by turns.
final class CommandLineDialogue {
    private let process = Process()
    private let (standardInput, standardOutput) = (Pipe(), Pipe())
    private var rest = Data()

    init(_ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: CommandLineRun.program ?? "apus")
        process.arguments = arguments
        process.standardInput = standardInput
        process.standardOutput = standardOutput
        try process.run()
    }

    deinit { if process.isRunning { process.terminate() } }

    func write(_ text: String) throws { try standardInput.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }

    /// The next line of the output; nil at its end and where none comes within half a minute.
    func readLine() -> String? {
        while true {
            if let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                defer { rest = Data(rest[(end + 1)...]) }
                return String(decoding: rest[..<end], as: UTF8.self)
            }
            var descriptor = pollfd(fd: standardOutput.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&descriptor, 1, 30_000) > 0 else { return nil }
            let more = standardOutput.fileHandleForReading.availableData
            guard !more.isEmpty else { return nil }
            rest += more
        }
    }

    /// Closes the program's input and waits for its end; returns its status.
    func finish() throws -> Int32 {
        try standardInput.fileHandleForWriting.close()
        process.waitUntilExit()
        return process.terminationStatus
    }
}
