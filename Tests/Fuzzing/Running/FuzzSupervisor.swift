import Foundation

/// Runs each reader in a process of its own, so that a crash or a hang ends in a file with the input and not in the loss of it.
struct FuzzSupervisor {
    let options: FuzzOptions

    /// True where no reader failed.
    func run() throws -> Bool {
        var isGood = true
        for target in options.targets { isGood = try run(target) && isGood }
        return isGood
    }

    private func run(_ target: FuzzTarget) throws -> Bool {
        let progress = FileManager.default.temporaryDirectory.appendingPathComponent("apus-fuzz-\(UUID().uuidString)")
        try Data("\(options.first)".utf8).write(to: progress)
        defer { try? FileManager.default.removeItem(at: progress) }

        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments =
            [target.name, "--progress-file", progress.path, "--seed", "\(options.seed)", "--first", "\(options.first)"]
            + ["--iterations", "\(options.iterations)", "--slow-seconds", "\(options.slowSeconds)"]
            + (options.seedsOnly ? ["--corpus-seed-only"] : []) + (options.memoryMultiple.map { ["--max-memory-multiple", "\($0)"] } ?? [])
        var environment = ProcessInfo.processInfo.environment
        // Memory that is freed must go back to the system, or a reader's growth could not be seen in it: the sanitiser keeps 256 MB, malloc what
        // lies below its thresholds.
        environment["ASAN_OPTIONS"] = [environment["ASAN_OPTIONS"], "quarantine_size_mb=8:allocator_release_to_os_interval_ms=100"].compactMap { $0 }
            .joined(separator: ":")
        environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
        environment["MALLOC_TRIM_THRESHOLD_"] = "65536"
        // Swift's backtracer was seen to hang on a process with the sanitiser in it. The run that repeats one input has it.
        environment["SWIFT_BACKTRACE"] = environment["SWIFT_BACKTRACE"] ?? "enable=no"
        process.environment = environment
        try process.run()
        let ending = Self.wait(for: process)
        if ending == .status(0) { return true }

        let reason =
            switch ending {
            case .signal(let signal): "crashed with signal \(signal)"
            case .status(TimeWatch.hangStatus): "hung for \(TimeWatch.hangSeconds) s"
            case .status(let status): "failed with status \(status)"
            }
        let iteration = Int(String(decoding: try Data(contentsOf: progress), as: UTF8.self)) ?? options.first
        let input = target.input(seed: options.seed, iteration: iteration)
        let file = URL(fileURLWithPath: options.output).appendingPathComponent("\(target.name)-\(options.seed)-\(iteration).input")
        try Data(input).write(to: file)
        print("\(target.name): \(reason) at iteration \(iteration) of seed \(options.seed); the input, \(input.count) bytes, is in \(file.path)")
        print("  again: apus-fuzz \(target.name) --input \(file.path)")
        return false
    }

    private enum Ending: Equatable { case status(Int32), signal(Int32) }

    /// Waits by asking the system, since `waitUntilExit` also waits for what the process left running.
    private static func wait(for process: Process) -> Ending {
        var status: Int32 = 0
        while true {
            switch waitpid(process.processIdentifier, &status, WNOHANG) {
            case 0: usleep(20_000)
            case process.processIdentifier: return status & 0x7F == 0 ? .status(status >> 8 & 0xFF) : .signal(status & 0x7F)
            default:
                // Foundation was first to ask, and knows.
                while process.isRunning { usleep(1000) }
                return process.terminationReason == .exit ? .status(process.terminationStatus) : .signal(process.terminationStatus)
            }
        }
    }
}
