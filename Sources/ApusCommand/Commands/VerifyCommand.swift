import Apus
import ArgumentParser
import Benchmarking
import Foundation
import Transformer

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check that this machine computes a model, or the operators on a GPU, right.",
        discussion: """
            The model is computed in several ways that must agree: as a whole and token by token, alone and in a batch, with this processor's \
            kernels and with plain C; a GPU's hidden states, vectors and logits are held against the CPU's, layer by layer. With --operators, \
            random cases of every operator are computed on the GPU, on both kernel paths, and held against the CPU reference by \
            |a - b| <= absolute + relative * |b|. The exit status is 1 if one check fails.
            """)

    @OptionGroup var model: DecoderArguments

    @Option(help: "Seed of the random tokens or cases.")
    var seed: UInt64 = 1

    @Option(
        help: ArgumentHelp(
            "Put a fault into what the GPU computes, to see that the checks notice: \(DeviceVerifier.Fault.allCases.map(\.rawValue).joined(separator: ", ")).",
            visibility: .hidden))
    var fault: DeviceVerifier.Fault?

    @Flag(help: "Give the GPU's executor what it must refuse, and more than its memory holds, instead. Takes nearly all of that memory for a moment.")
    var faults = false

    @Option(help: "Hold so many short conversations one after another instead: the same seed must give the same text, and no memory be kept.")
    var conversations: Int?

    @Option(help: "Hold greedy texts with up to so many guesses a step (--speculate of generate) against those without instead.")
    var speculate: Int?

    @Flag(help: "Verify the operators on a GPU instead of a model.")
    var operators = false

    @OptionGroup(title: "Options of --operators") var cases: OperatorCaseArguments

    func validate() throws {
        if operators, faults { throw ValidationError("give --operators or --faults, not both") }
        if operators, model.model != nil { throw ValidationError("--operators verifies no model; leave '\(model.model ?? "")' out") }
        if operators, let changed = model.changed ?? (fault == nil ? nil : "--fault") {
            throw ValidationError("--operators verifies no model; leave \(changed) out")
        }
        if !operators, let changed = cases.changed { throw ValidationError("\(changed) is about operators; give --operators too, or leave it out") }
        if let conversations, conversations < 2 { throw ValidationError("--conversations is \(conversations), expected at least 2") }
        if let speculate, !(1...GenerationOptions.largestPromptLookup ~= speculate) {
            throw ValidationError("--speculate is \(speculate), expected 1 to \(GenerationOptions.largestPromptLookup)")
        }
        if speculate != nil, operators || faults || fault != nil || conversations != nil {
            throw ValidationError("--speculate goes with none of --operators, --faults, --fault and --conversations")
        }
        if conversations != nil, operators || faults || fault != nil {
            throw ValidationError("--conversations goes with none of --operators, --faults and --fault")
        }
    }

    func run() async throws {
        if operators { return try OperatorVerificationReport(seed: seed, cases: cases).run(on: model.device.device, path: model.device.kernels) }
        let loaded: [LoadedModel]
        if model.model == nil {
            var all: [LoadedModel] = []
            for bundled in BundledModel.allCases { all.append(try await LoadedModel(bundled.name, options: model.options)) }
            loaded = all
        } else {
            loaded = [try await model.load(default: .text)]
        }
        let threads = model.options.threads
        var failures = 0
        var checks = 0
        for model in loaded where conversations == nil && speculate == nil || model.hasHead && !model.spec.isBidirectional {
            try Output.standard.writeLine("\(model.name) on \(model.executor.deviceDescription), seed \(seed)")
            let verifier = ModelVerifier(model: model, threads: threads, seed: seed)
            func report(_ check: ModelVerifier.Check) throws {
                checks += 1
                if !check.passes { failures += 1 }
                let relation = check.isLowerBound ? "at least" : "at most"
                let value = String(format: check.isLowerBound ? "%.7f" : "%.2e", check.value)
                let bound = String(format: "%.6g", check.bound)
                try Output.standard.writeLine(
                    "  \(check.passes ? "✓" : "✗") \(check.name.padding(toLength: 46, withPad: " ", startingAt: 0)) \(value), \(relation) \(bound)"
                )
                try Output.standard.flush()
            }
            if let speculate {
                try DecodeVerifier(model: model, executor: model.executor, seed: seed).runSpeculation(guesses: speculate, report: report)
            } else if let conversations {
                try DecodeVerifier(model: model, executor: model.executor, seed: seed).runConversations(conversations, report: report)
            } else if faults {
                try verifier.runFaults(report: report)
            } else {
                try verifier.run(fault: fault, report: report)
            }
        }
        try Output.standard.writeLine("\(checks) checks, \(failures) failed")
        try Output.standard.close()
        if failures > 0 { throw ExitCode(1) }
    }
}

extension DeviceVerifier.Fault: ExpressibleByArgument {}
