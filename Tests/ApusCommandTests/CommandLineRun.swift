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
