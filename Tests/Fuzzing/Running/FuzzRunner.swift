import Foundation

/// Feeds one reader inside this process. A crash ends the process; the supervisor reads in the progress file how far it came.
struct FuzzRunner {
    let target: FuzzTarget
    let options: FuzzOptions

    struct Failure: Error { let message: String }

    private var accepted = 0
    private var slowest = 0.0
    /// Growth in multiples of the input's size, beyond the allowance left aside, of large inputs.
    private var largestMultiple = 0.0
    /// Kinds of refusal in a sample of the inputs: how deep the mutations reach.
    private var kinds: [String: Int] = [:]
    private let watch = TimeWatch()
    private var memory = MemoryWatch()

    init(_ target: FuzzTarget, _ options: FuzzOptions) {
        self.target = target
        self.options = options
    }

    /// Runs what the options ask for and prints a line of figures. Throws a ``Failure`` at the first.
    mutating func run() throws {
        try runSeeds()
        guard !options.seedsOnly else {
            print("\(target.name): \(target.seeds.count) seeds accepted")
            return
        }
        watch.start()
        let progress = try options.progressFile.map { try FileHandle(forWritingTo: URL(fileURLWithPath: $0)) }
        let start = ContinuousClock.now
        let end = options.first + options.iterations
        var iteration = options.first
        while iteration < end {
            let batch = iteration..<min(end, iteration + MemoryWatch.batchCount)
            if try runBatch(batch, progress) > allowed(inputByteCount: MemoryWatch.largeByteCount) {
                // Once more, one by one, to find which it was. What an earlier run left behind does not count twice.
                for suspect in batch {
                    try note(suspect, progress)
                    try runAlone(target.input(seed: options.seed, iteration: suspect))
                }
            }
            iteration = batch.upperBound
        }
        report(since: start)
    }

    /// Runs one input and says what came of it.
    mutating func run(_ input: [UInt8]) throws -> String {
        watch.start()
        try runAlone(input)
        let growth = Self.show(Double(memory.growth()) / Double(max(1, input.count)))
        do {
            try target.run(input)
            return "accepted, in \(Self.show(slowest)) s with \(growth) times the memory"
        } catch {
            return "refused, in \(Self.show(slowest)) s with \(growth) times the memory: \(error)"
        }
    }

    private func runSeeds() throws {
        for (index, seed) in target.seeds.enumerated() {
            do {
                try target.run(seed)
            } catch {
                throw Failure(message: "seed \(index) is not accepted: \(error)")
            }
        }
    }

    /// Runs the iterations and returns by how much memory grew for the small inputs among them.
    private mutating func runBatch(_ batch: Range<Int>, _ progress: FileHandle?) throws -> Int {
        memory.start()
        var growth = 0
        for iteration in batch {
            try note(iteration, progress)
            let input = target.input(seed: options.seed, iteration: iteration)
            if input.count >= MemoryWatch.largeByteCount {
                growth = max(growth, memory.growth())
                try runAlone(input)
                memory.start()
            } else {
                try runTimed(input, isSampled: iteration % 16 == 0)
            }
        }
        return max(growth, memory.growth())
    }

    /// Notes the iteration under way, always in as many digits, so that no digit of a longer number stays behind.
    private func note(_ iteration: Int, _ progress: FileHandle?) throws {
        guard let progress else { return }
        let digits = String(iteration)
        try progress.seek(toOffset: 0)
        try progress.write(contentsOf: Data((String(repeating: "0", count: max(0, 20 - digits.count)) + digits).utf8))
    }

    private func allowed(inputByteCount: Int) -> Int {
        MemoryWatch.allowance + (options.memoryMultiple ?? target.statedMemoryMultiple) * inputByteCount
    }

    private mutating func runAlone(_ input: [UInt8]) throws {
        memory.start()
        try runTimed(input, isSampled: true)
        let growth = memory.growth()
        if growth > allowed(inputByteCount: input.count) {
            throw Failure(
                message: "memory grew by \(growth) bytes for an input of \(input.count); allowed are "
                    + "\(options.memoryMultiple ?? target.statedMemoryMultiple) times the input and \(MemoryWatch.allowance)")
        }
        if input.count >= 1 << 19 { largestMultiple = max(largestMultiple, Double(growth) / Double(input.count)) }
    }

    private mutating func runTimed(_ input: [UInt8], isSampled: Bool) throws {
        watch.tick()
        let start = TimeWatch.processorSeconds()
        do {
            try target.run(input)
            accepted += 1
        } catch let violation as FuzzViolation {
            throw Failure(message: violation.description)
        } catch {
            if isSampled { kinds[Self.kind(of: error), default: 0] += 1 }
        }
        let seconds = TimeWatch.processorSeconds() - start
        slowest = max(slowest, seconds)
        if seconds > options.slowSeconds {
            throw Failure(message: "an input of \(input.count) bytes took \(Self.show(seconds)) s, more than \(Self.show(options.slowSeconds))")
        }
    }

    /// The error's text without what differs from input to input: numbers and quoted words.
    private static func kind(of error: any Error) -> String {
        var kind = ""
        var isQuoted = false
        for scalar in String(describing: error).unicodeScalars.prefix(300) {
            if scalar == "'" { isQuoted.toggle() }
            if !isQuoted, scalar.isASCII, !("0"..."9").contains(scalar) { kind.unicodeScalars.append(scalar) }
        }
        return kind
    }

    private func report(since start: ContinuousClock.Instant) {
        let seconds = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
        print(
            "\(target.name): \(options.iterations) inputs in \(Self.show(seconds)) s, \(accepted * 100 / max(1, options.iterations)) % accepted, "
                + "\(kinds.count) kinds of refusal in a sample, slowest \(Self.show(slowest)) s, memory at most \(Self.show(largestMultiple)) times the input"
        )
    }

    private static func show(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
}
