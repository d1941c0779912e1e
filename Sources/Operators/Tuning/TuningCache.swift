package import CUDA
import Foundation
import JSON
import OrderedCollections
import Synchronization
import Tensors

/// Tuned choices on disk, kept under the GPU's name, its compute capability, the driver's version, the kernel's fingerprint, and the operator with
/// its types and sizes.
///
/// One JSON file: the one given, else `APUS_TUNING`, else `$XDG_CACHE_HOME/apus/tuning.json`, else `~/.cache/apus/tuning.json`. It is written whole
/// under a temporary name and renamed. A file that cannot be read counts as empty, with a ``warning``, and is written anew at the next store.
public final class TuningCache: Sendable {
    /// A choice with what it was found on.
    public struct Entry: Sendable, Hashable {
        public let identity: TuningIdentity
        public let choice: TunedChoice

        public init(identity: TuningIdentity, choice: TunedChoice) {
            self.identity = identity
            self.choice = choice
        }
    }

    /// Nil where the environment names no place: then nothing is kept.
    public let path: String?
    private let state: Mutex<State>

    private struct State {
        var entries: [Entry] = []
        var warning: String?
    }

    public convenience init(path: String? = nil) { self.init(path: path, environment: .process) }

    package init(path: String?, environment: Environment) {
        self.path = path ?? Self.defaultPath(environment)
        state = Mutex(Self.read(self.path))
    }

    private static func defaultPath(_ environment: Environment) -> String? {
        if let path = environment["APUS_TUNING"] { return path }
        if let folder = environment["XDG_CACHE_HOME"], folder.hasPrefix("/") { return "\(folder)/apus/tuning.json" }
        return environment["HOME"].map { "\($0)/.cache/apus/tuning.json" }
    }

    /// Why the file's choices, or some of them, were not taken; nil while all is well.
    public var warning: String? { state.withLock(\.warning) }
    public var count: Int { state.withLock(\.entries.count) }
    /// In the order of the file.
    public var entries: [Entry] { state.withLock(\.entries) }

    public func contains(_ key: TuningKey, on identity: TuningIdentity) -> Bool { choice(for: key, on: identity) != nil }

    public func choice(for key: TuningKey, on identity: TuningIdentity) -> TunedChoice? {
        state.withLock { $0.entries.first { $0.identity == identity && $0.choice.key == key }?.choice }
    }

    /// Keeps a choice, in place of one for the same shape on the same machine. What other processes have stored meanwhile stays.
    public func store(_ choice: TunedChoice, on identity: TuningIdentity) throws(OperatorError) {
        let fresh = Self.read(path)
        var entries = fresh.entries.filter { $0.identity != identity || $0.choice.key != choice.key }
        entries.append(Entry(identity: identity, choice: choice))
        try write(entries)
    }

    /// Removes all choices.
    public func clear() throws(OperatorError) { try write([]) }

    // MARK: The file

    private static let format = "apus-tuning-1"
    /// A larger file is none of ours.
    private static let limit = 64 << 20

    private func write(_ entries: [Entry]) throws(OperatorError) {
        state.withLock {
            $0.entries = entries
            $0.warning = nil
        }
        guard let path else { return }
        let list = entries.map { "    " + Self.json($0).text }.joined(separator: ",\n")
        let text = "{\n  \"format\": \"\(Self.format)\",\n  \"choices\": [\n\(list)\n  ]\n}\n"
        do {
            let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw OperatorError(.file, in: "tune", "the choices cannot be kept in \(path): \(error.localizedDescription)")
        }
    }

    private static func read(_ path: String?) -> State {
        guard let path, FileManager.default.fileExists(atPath: path) else { return State() }
        func refused(_ reason: String) -> State { State(warning: "the tuned choices in \(path) are not used: \(reason)") }
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe), data.count <= limit else {
            return refused("the file cannot be read")
        }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: Array(data))
        } catch {
            return refused("\(error)")
        }
        guard value["format"]?.stringValue == format, let list = value["choices"]?.arrayValue else {
            return refused("it is no file of this program's")
        }
        let entries = list.compactMap(entry)
        let lost = list.count - entries.count
        return State(entries: entries, warning: lost == 0 ? nil : "\(lost) of \(list.count) tuned choices in \(path) are damaged and not used")
    }

    private static func json(_ entry: Entry) -> JSONValue {
        let (identity, choice) = (entry.identity, entry.choice)
        return .object([
            "device": .string(identity.device), "compute_capability": .string(identity.computeCapability), "driver": .string(identity.driver),
            "kernel": .string(identity.kernel), "operation": .string(choice.key.operation), "input": .string(choice.key.inputType.rawValue),
            "output": .string(choice.key.outputType.rawValue), "sizes": .array(choice.key.sizes.map { .integer($0) }),
            "values": .object(JSONObject(uniqueKeysWithValues: choice.values.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) })),
            "seconds": .double(choice.seconds), "standard_seconds": .double(choice.standardSeconds),
        ])
    }

    private static func entry(_ value: JSONValue) -> Entry? {
        func text(_ name: String) -> String? { value[name]?.stringValue }
        guard let device = text("device"), let capability = text("compute_capability"), let driver = text("driver"), let kernel = text("kernel"),
            let operation = text("operation"), let input = text("input").flatMap({ DType(rawValue: $0) }),
            let output = text("output").flatMap({ DType(rawValue: $0) }), let sizes = value["sizes"]?.arrayValue,
            let members = value["values"]?.objectValue, let seconds = value["seconds"]?.doubleValue,
            let standard = value["standard_seconds"]?.doubleValue, seconds > 0, standard > 0
        else { return nil }
        let numbers = sizes.compactMap(\.integerValue)
        let values = members.compactMapValues(\.integerValue)
        guard numbers.count == sizes.count, values.count == members.count else { return nil }
        let key = TuningKey(operation: operation, inputType: input, outputType: output, sizes: numbers)
        let choices = Dictionary(uniqueKeysWithValues: values.map { ($0.key, $0.value) })
        return Entry(
            identity: TuningIdentity(device: device, computeCapability: capability, driver: driver, kernel: kernel),
            choice: TunedChoice(key: key, values: choices, seconds: seconds, standardSeconds: standard))
    }
}
