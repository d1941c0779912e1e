import Foundation
import JSON
import Testing
import Tokenizers

/// The committed goldens, made by Goldens/make_goldens.py.
enum Goldens {
    static let tokenizerNames = ["byte-level", "gemma-form", "llama-form", "mixed", "gpt-form"]

    static func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Goldens/\(name)").path
    }

    static func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path(name)))) }

    static func tokenizer(_ name: String) throws -> Tokenizer { try Tokenizer(contentsOf: path("\(name).json")) }

    /// What differs between a case of the reference and ours. Texts are compared scalar by scalar: Swift's == calls canonical equivalents equal.
    static func differences(_ value: JSONValue, _ tokenizer: Tokenizer) -> [String] {
        var found: [String] = []
        let ids = value["ids"]?.arrayValue?.compactMap(\.integerValue) ?? []
        func check(_ what: String, _ ours: [Int], _ theirs: [Int]) {
            if ours != theirs { found.append("\(what) of \(value["text"]?.stringValue?.debugDescription ?? ""): \(ours), reference \(theirs)") }
        }
        func check(_ what: String, _ ours: String, _ key: String) {
            guard let theirs = value[key]?.stringValue else { return }
            if !ours.utf8.elementsEqual(theirs.utf8) {
                found.append("\(what) of \(ids): \(ours.debugDescription), reference \(theirs.debugDescription)")
            }
        }
        if let text = value["text"]?.stringValue {
            check("ids", tokenizer.encode(text), ids)
            check("plain ids", tokenizer.encode(text, addSpecialTokens: false), value["plain"]?.arrayValue?.compactMap(\.integerValue) ?? [])
        }
        check("text", tokenizer.decode(ids, skipSpecialTokens: false), "kept")
        check("text without special tokens", tokenizer.decode(ids), "skipped")
        var stream = StreamingDetokenizer(tokenizer)
        var streamed = ""
        for id in ids { streamed.unicodeScalars.append(contentsOf: stream.append(id).unicodeScalars) }
        streamed.unicodeScalars.append(contentsOf: stream.finish().unicodeScalars)
        check("streamed text", streamed, "skipped")
        return found
    }
}

/// The folder `shared/data` beside the package, which a checkout need not have.
enum SharedData {
    private static let folder: URL = {
        var url = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        while url.path != "/", !FileManager.default.fileExists(atPath: url.appendingPathComponent("Sources/Tokenizers").path) {
            url.deleteLastPathComponent()
        }
        return url.appendingPathComponent("../shared/data").standardizedFileURL
    }()

    static func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    static func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }
}
