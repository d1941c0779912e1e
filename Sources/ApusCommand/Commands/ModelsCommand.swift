import Apus
import ArgumentParser
import Foundation
import ModelHub

struct ModelsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "List the models on this machine, or fetch one.",
        discussion: "Models lie in Hugging Face's own cache (HF_HOME, HF_HUB_CACHE), which its other tools read and write too.")

    @Argument(help: "A hub name to fetch, such as Qwen/Qwen3-0.6B; with none the cache is listed.")
    var model: String?

    @Flag(help: "Ask the hub for a newer revision of a model that is already there.")
    var update = false

    func run() async throws {
        let settings = HubSettings()
        guard let model else { return try list(HubCache(settings: settings)) }
        let line = DownloadLine()
        defer { line.finish() }
        let folder = try await ModelFolder.open(model, download: update ? .update : .ifMissing) { line.update($0) }
        line.finish()
        try Output.standard.writeLine(folder.directory ?? folder.name)
        try Output.standard.close()
    }

    private func list(_ cache: HubCache) throws {
        let output = Output.standard
        for bundled in BundledModel.allCases {
            let bytes = bundled.folder.fileNames().reduce(0) { $0 + ((try? bundled.folder.data(of: $1).count) ?? 0) }
            try output.writeLine("\(bundled.name)  \(Format.bytes(bytes))  part of this program")
        }
        let dates = DateFormatter()
        dates.dateFormat = "yyyy-MM-dd"
        for model in cache.list() {
            try output.writeLine("\(model.repository)  \(Format.bytes(model.byteCount))  last used \(dates.string(from: model.lastUsed))")
            for revision in model.revisions {
                let refs = revision.refs.isEmpty ? "" : " (\(revision.refs.joined(separator: ", ")))"
                try output.writeLine("  \(revision.commit.prefix(12))\(refs)  \(revision.fileCount) files, \(Format.bytes(revision.byteCount))")
            }
            if model.incompleteByteCount > 0 {
                try output.writeLine("  \(Format.bytes(model.incompleteByteCount)) of an unfinished download; fetch the model again to go on")
            }
        }
        try output.close()
    }
}
