import Apus
import Foundation
import ModelHub

/// What names a model and says how to load it.
protocol ModelChoice {
    var model: String? { get }
    var options: ModelOptions { get }
}

extension ModelArguments: ModelChoice {}

extension DecoderArguments: ModelChoice {}

extension ModelChoice {
    /// Finds the model, fetching it with a progress line where the cache lacks it, and loads it.
    func load(default bundled: BundledModel, replicas: ReplicaCount = .count(1), preparesVectors: Bool = false) async throws -> LoadedModel {
        let line = DownloadLine()
        defer { line.finish() }
        var options = options
        options.replicas = replicas
        options.preparesVectors = preparesVectors
        return try await LoadedModel(model ?? bundled.name, options: options) { line.update($0) }
    }
}

extension ModelName {
    /// The model's folder without its weights being loaded.
    func folder(default bundled: BundledModel, parts: ModelParts) async throws -> ModelFolder {
        let line = DownloadLine()
        defer { line.finish() }
        return try await LoadedModel.findFolder(model ?? bundled.name, parts: parts) { line.update($0) }
    }
}

/// The progress line of a download; its updates come from other threads.
final class DownloadLine: @unchecked Sendable {
    private let lock = NSLock()
    private let line = ProgressLine("download", unit: "MB")

    func update(_ progress: DownloadProgress) {
        lock.withLock { line.update(Double(progress.completedByteCount) / 1e6, of: progress.totalByteCount.map { Double($0) / 1e6 }) }
    }

    func finish() { lock.withLock { line.finish() } }
}
