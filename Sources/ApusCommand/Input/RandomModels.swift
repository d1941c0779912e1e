import Apus
import ArgumentParser
import Foundation
import Transformer

/// Folders of published models' shapes with seeded random weights, which benchmarks run on.
struct RandomModels {
    private let folder: String
    private let isTemporary: Bool

    /// - Parameter workspace: where they are kept; a temporary folder when nil.
    init(workspace: String?) {
        folder = workspace ?? FileManager.default.temporaryDirectory.appendingPathComponent("apus-bench-\(UUID().uuidString)").path
        isTemporary = workspace == nil
    }

    /// The folder of a shape, written with a progress line where it is not there yet.
    func path(of preset: Preset) throws -> String {
        let path = folder + "/" + preset.name
        if !FileManager.default.fileExists(atPath: path + "/config.json") {
            let progress = ProgressLine("init \(preset.name)", unit: "MB")
            try FolderInitializer(preset: preset).write(to: path, seed: 1) { progress.update(Double($0) / 1e6, of: Double($1) / 1e6) }
            progress.finish()
        }
        return path
    }

    /// Random weights are asked for where there is a model with its own.
    static func refuse(_ preset: String?, _ workspace: String?, beside model: String) throws {
        guard let option = preset != nil ? "--preset" : workspace != nil ? "--workspace" : nil else { return }
        throw ValidationError("\(option) is about random weights; leave it or '\(model)' out")
    }

    /// Removes what is temporary.
    func remove() {
        if isTemporary { try? FileManager.default.removeItem(atPath: folder) }
    }
}

extension Preset {
    /// The preset of that name, or what there is.
    static func required(_ name: String) throws -> Preset {
        guard let preset = named(name) else {
            throw ValidationError("there is no preset '\(name)'; there are \(all.map(\.name).joined(separator: ", "))")
        }
        return preset
    }
}
