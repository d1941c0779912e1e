import Foundation
import JSON
import Synchronization
import Testing
import Tokenizers

/// Times are processor time, and the bounds far above what is normal: they catch what grows with the square of the text.
/// `APUS_TOKENIZER_SPEED=1` prints the times.
@Suite(.serialized) struct SpeedTests {
    private static let prints = ProcessInfo.processInfo.environment["APUS_TOKENIZER_SPEED"] != nil
    #if DEBUG
        private static let byteCount = 20_000
        private static let loadCount = 1
    #else
        private static let byteCount = 1_000_000
        private static let loadCount = 5
    #endif

    private func seconds(_ what: String, _ body: () throws -> Void) rethrows -> Double {
        let start = clock()
        try body()
        let seconds = Double(clock() - start) / Double(CLOCKS_PER_SEC)
        if Self.prints { print("\(what): \(Int(seconds * 1e6)) microseconds of processor time") }
        return seconds
    }

    private static func units() -> [String] {
        ["a", " ", "\n", "\u{301}", "e\u{301}", "1", "!", "<", "한", "\u{1100}", "aB", "\u{1F600}", " x", "é'"]
    }

    /// Runs of a megabyte, which some splitting patterns and merges would take hours for.
    @Test(arguments: Goldens.tokenizerNames)
    func encodesLongRuns(name: String) throws {
        let tokenizer = try Goldens.tokenizer(name)
        for unit in Self.units() {
            let text = String(repeating: unit, count: Self.byteCount / unit.utf8.count)
            var count = 0
            let seconds = seconds("\(name), run of \(unit.debugDescription)") { count = tokenizer.encode(text).count }
            #expect(seconds < 10)
            #expect(count > 0)
        }
    }

    #if os(Linux)
        /// More threads than there are processors give theirs up rarely. Behind one lock they did once a text, and encoded a twentieth of what one thread does.
        @Test func threadsDoNotWaitForEachOther() throws {
            let tokenizer = try Goldens.tokenizer("byte-level")
            let waits = Mutex(0)
            let group = DispatchGroup()
            for _ in 0..<16 {
                group.enter()
                let thread = Thread {
                    for number in 0..<40_000 where tokenizer.encode("A short text, number \(number)").isEmpty { Issue.record("no tokens") }
                    var usage = rusage()
                    getrusage(__rusage_who_t(1), &usage)  // RUSAGE_THREAD
                    waits.withLock { $0 += usage.ru_nvcsw }
                    group.leave()
                }
                thread.start()
            }
            group.wait()
            #expect(waits.withLock { $0 } < 16 * 40_000 / 20)
        }
    #endif

    @Test(.enabled(if: SharedData.exists("qwen3-tokenizer"), "the real vocabularies in ../shared/data are not here"))
    func loadsAndEncodesRealVocabularies() throws {
        for name in ["qwen3-tokenizer", "spm-gemma-style-tokenizer", "spm-llama-style-tokenizer"] {
            let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: SharedData.path("\(name)/tokenizer.json"))))
            var loaded: Tokenizer?
            var best = Double.infinity
            for _ in 0..<Self.loadCount { best = min(best, try seconds("\(name), load") { loaded = try Tokenizer(json: bytes) }) }
            #expect(best < 10)
            let tokenizer = try #require(loaded)
            let prose = try String(contentsOfFile: SharedData.path("tinyshakespeare.txt"), encoding: .utf8)
            var ids: [Int] = []
            _ = seconds("\(name), encode \(prose.utf8.count) bytes of prose") { ids = tokenizer.encode(prose) }
            _ = seconds("\(name), encode it again") { ids = tokenizer.encode(prose) }
            _ = seconds("\(name), decode \(ids.count) ids") { _ = tokenizer.decode(ids) }
            var generator = SystemRandomNumberGenerator()
            let random = String(decoding: (0..<Self.byteCount).map { _ in UInt8.random(in: 0...255, using: &generator) }, as: UTF8.self)
            #expect(seconds("\(name), run of random bytes") { ids = tokenizer.encode(random) } < 10)
            for unit in Self.units() {
                let text = String(repeating: unit, count: Self.byteCount / unit.utf8.count)
                #expect(seconds("\(name), run of \(unit.debugDescription)") { ids = tokenizer.encode(text) } < 10)
            }
        }
    }
}
