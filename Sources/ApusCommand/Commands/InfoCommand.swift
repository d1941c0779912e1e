import Apus
import ArgumentParser
import CUDA
import Foundation
import ModelHub
import Tokenizers
import Transformer

struct InfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Show what this machine offers and what a model is.")

    @OptionGroup var model: DecoderArguments

    @Flag(help: "Show registers, shared memory and spills of the compiled kernels in the cache instead.")
    var kernels = false

    @Option(help: "With --kernels: compile the operators' kernels for this architecture, such as sm_90a, and show those.")
    var architecture: String?

    func validate() throws {
        if architecture != nil, !kernels { throw ValidationError("--architecture needs --kernels") }
        if kernels, model.model != nil { throw ValidationError("--kernels shows no model; leave '\(model.model ?? "")' out") }
        if kernels, let changed = model.changed ?? model.device.changed { throw ValidationError("--kernels shows no model; leave \(changed) out") }
    }

    func run() async throws {
        if kernels { return try KernelReport(architecture: architecture.map { try Architecture($0) }).run() }
        let output = Output.standard
        try output.writeLine("apus \(Version.text)")
        for line in graphicsProcessors() { try output.writeLine("GPU: \(line)") }
        if model.model == nil {
            for bundled in BundledModel.allCases {
                let loaded = try await LoadedModel(bundled.name, options: model.options)
                if bundled == .text { try output.writeLine("device: \(loaded.executor.deviceDescription)") }
                try output.writeLine("")
                try describe(loaded, to: output)
            }
        } else {
            let loaded = try await model.load(default: .text)
            try output.writeLine("device: \(loaded.executor.deviceDescription)")
            try output.writeLine("")
            try describe(loaded, to: output)
        }
        try output.close()
    }

    /// A line for each GPU, or one that says why there is none.
    private func graphicsProcessors() -> [String] {
        do {
            let devices = try Device.all()
            if devices.isEmpty { return ["the driver shows none"] }
            return devices.map { device in
                "cuda:\(device.ordinal) \(device.name), compute capability \(device.computeCapability), \(Format.bytes(device.memoryByteCount))"
                    + ", \(device.multiprocessorCount) multiprocessors\(peaks(of: device))"
            }
        } catch {
            return ["none (\(error.message))"]
        }
    }

    /// The rates on paper, where they are known.
    private func peaks(of device: Device) -> String {
        guard let peaks = device.peaks else { return "" }
        return String(format: ", %.0f TFLOP/s bf16, %.1f TB/s on paper", peaks.bf16 / 1e12, peaks.bandwidth / 1e12)
    }

    private func describe(_ model: LoadedModel, to output: Output) throws {
        let spec = model.spec
        let sliding = spec.layers.compactMap(\.window)
        func row(_ name: String, _ value: String) throws {
            try output.writeLine("  " + name.padding(toLength: 14, withPad: " ", startingAt: 0) + value)
        }
        try output.writeLine(model.name)
        try row("family", model.configuration.modelType)
        try row("parameters", "\(Format.count(Double(spec.parameterCount))) \(model.weightType), \(Format.bytes(model.weightByteCount))")
        try row("shape", "\(spec.layers.count) layers, hidden \(spec.hiddenSize), intermediate \(spec.intermediateSize)")
        try row(
            "attention", "\(spec.queryHeads)/\(spec.keyValueHeads) heads of \(spec.headDimension)\(spec.isBidirectional ? ", bidirectional" : "")")
        if let window = sliding.first { try row("window", "\(window) in \(sliding.count) of \(spec.layers.count) layers") }
        try row("vocabulary", "\(spec.vocabularySize)\(model.tokenizer.map { ", tokenizer \($0.vocabularyCount)" } ?? ", no tokenizer")")
        try row("context", "\(spec.maximumPositions)")
        try row("chat template", model.chat.hasTemplate ? "yes" : "no")
        try row("text", model.hasHead && !spec.isBidirectional ? "yes" : "no, encoder only")
        if model.hasHead, let mode = DecodeText.mode(model.executor.decodeForm) { try row("decoding", mode) }
        if model.hasHead, !spec.isBidirectional { try row("cache", DecodeText.cacheFormat(model)) }
        let encoder = try model.encoderDescription()
        let width = encoder.head.fullDimension(hiddenSize: spec.hiddenSize)
        try row("vectors", "\(width) dimensions, \(encoder.head.pooling.rawValue) pooling\(encoder.isFromFolder ? "" : " (the family's default)")")
        if !encoder.prompts.isEmpty { try row("prompts", encoder.prompts.map(\.name).joined(separator: ", ")) }
    }
}
