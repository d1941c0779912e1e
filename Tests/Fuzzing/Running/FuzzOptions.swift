/// What the command line asks for.
struct FuzzOptions: Sendable {
    static let usage = """
        usage: apus-fuzz READER [options]
          READER                      \(FuzzTarget.all.map(\.name).joined(separator: ", ")) or all
          --iterations N              inputs for each reader (100000)
          --seed S                    the same seed makes the same inputs (1)
          --first N                   the iteration to begin with (0)
          --corpus-seed-only          run the unchanged seeds only, which must be accepted
          --max-memory-multiple M     instead of the reader's own multiple of the input's size
          --slow-seconds T            processor time that one input may take (1)
          --output FOLDER             where failing inputs go (.)
          --input FILE                run this input and say what came of it
        Exit status 0: nothing failed. 1: a reader failed; its input is in a file. 2: the command line is wrong.
        """

    var targets: [FuzzTarget] = []
    var iterations = 100_000
    var seed: UInt64 = 1
    var first = 0
    var seedsOnly = false
    var memoryMultiple: Int?
    var slowSeconds = 1.0
    var output = "."
    var input: String?
    /// Set by the supervisor in the process that does the work: the file in which it notes the iteration under way.
    var progressFile: String?

    struct Fault: Error { let message: String }

    init(_ arguments: [String]) throws(Fault) {
        guard let name = arguments.first else { throw Fault(message: "a reader is expected") }
        targets = name == "all" ? FuzzTarget.all : FuzzTarget.all.filter { $0.name == name }
        guard !targets.isEmpty else { throw Fault(message: "there is no reader '\(name)'") }
        var rest = arguments.dropFirst()
        while let option = rest.popFirst() {
            if option == "--corpus-seed-only" {
                seedsOnly = true
                continue
            }
            guard let value = rest.popFirst() else { throw Fault(message: "\(option) is unknown or needs a value") }
            switch option {
            case "--iterations": iterations = try Self.number(option, value)
            case "--seed": seed = try Self.number(option, value)
            case "--first": first = try Self.number(option, value)
            case "--max-memory-multiple": memoryMultiple = try Self.number(option, value) as Int
            case "--slow-seconds": slowSeconds = try Self.number(option, value)
            case "--output": output = value
            case "--input": input = value
            case "--progress-file": progressFile = value
            default: throw Fault(message: "\(option) is unknown")
            }
        }
    }

    private static func number<Number: LosslessStringConvertible & Comparable & Numeric>(_ option: String, _ text: String) throws(Fault) -> Number {
        guard let number = Number(text), number >= .zero else { throw Fault(message: "\(option): '\(text)' is no number from 0 on") }
        return number
    }
}
