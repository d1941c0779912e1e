import ChatTemplates
import Foundation
import JSON
import OrderedCollections
import Testing

/// Files that the scripts in `Goldens` write, and the model files beside the checkout, which may be absent.
enum Goldens {
    static func read(_ name: String) throws -> JSONValue {
        let folder = try #require(Bundle.module.resourceURL, "the test bundle has no resources")
        return try json(at: folder.appendingPathComponent("Goldens").appendingPathComponent(name))
    }

    static func text(_ name: String) throws -> String {
        let folder = try #require(Bundle.module.resourceURL, "the test bundle has no resources")
        return String(decoding: try Data(contentsOf: folder.appendingPathComponent("Goldens").appendingPathComponent(name)), as: UTF8.self)
    }

    static func json(at url: URL) throws -> JSONValue { try JSONValue(parsing: [UInt8](Data(contentsOf: url))) }

    /// `../shared` beside the package, found from this file.
    static let shared: URL? = {
        var folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        while folder.path != "/" {
            if FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
                let shared = folder.deletingLastPathComponent().appendingPathComponent("shared")
                return FileManager.default.fileExists(atPath: shared.path) ? shared : nil
            }
            folder.deleteLastPathComponent()
        }
        return nil
    }()

    static let qwen3Configuration: URL? = {
        guard let url = shared?.appendingPathComponent("data/qwen3-tokenizer/tokenizer_config.json") else { return nil }
        return FileManager.default.fileExists(atPath: url.path) ? url : nil
    }()

    /// The clock of the goldens.
    static let clock = TemplateClock { LocalTime(year: 2024, month: 7, day: 26, hour: 15, minute: 4, second: 9) }

    /// FNV-1a, 64 bits, as in `make_goldens.py`.
    static func fingerprint(_ text: String) -> String {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}

/// What rendering gave: a text or an error.
enum Outcome {
    case text(String)
    case failure(ChatTemplateError)

    init(_ render: () throws(ChatTemplateError) -> String) {
        do throws(ChatTemplateError) {
            self = .text(try render())
        } catch {
            self = .failure(error)
        }
    }

    /// A difference from what jinja2 did, nil where there is none. `expected` is null where jinja2 fails. Saying that something is not
    /// supported is no difference unless `isComplete` asks for everything.
    func difference(from expected: JSONValue?, isComplete: Bool) -> String? {
        switch (self, expected) {
        case (.text(let text), .string(let wanted)?):
            // Swift's == would take canonically equivalent texts for equal.
            text.utf8.elementsEqual(wanted.utf8) ? nil : "rendered \(text.debugDescription), expected \(wanted.debugDescription)"
        case (.text(let text), _): "rendered \(text.debugDescription), expected an error"
        case (.failure(let error), .string(let wanted)?):
            !isComplete && [.unsupported, .integerRange, .limit].contains(error.code)
                ? nil : "failed with \(error), expected \(wanted.debugDescription)"
        case (.failure, _): nil
        }
    }
}
