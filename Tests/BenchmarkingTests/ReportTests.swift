import Benchmarking
import Foundation
import Tensors
import Testing

@Suite struct ReportTests {
    static func row(_ name: String, _ role: BenchmarkRole, _ times: [Double], _ check: BenchmarkCheck = .unchecked("")) throws -> BenchmarkRow {
        try #require(BenchmarkRow(name: name, role: role, samples: times.map { $0 * 1e-6 }, check: check))
    }

    static func report(_ check: BenchmarkCheck = .passed("12 samples"), scale: Double = 1) throws -> BenchmarkReport {
        let machine = BenchmarkMachine(
            device: "Test <GPU>", computeCapability: "9.0", driver: "1.2 (CUDA 13.0)", versions: ["NVRTC": "13.0"],
            peaks: Peaks(bf16: 1e15, fp8: nil, bandwidth: 4.8e12, source: "paper"),
            ceilings: Peaks(bf16: 7e14, bandwidth: 4.125e12, source: "measured"))
        var report = BenchmarkReport(
            title: "a \"test\" & more", command: "apus bench", version: "0", date: "2026-11-21T00:00:00Z", machine: machine, method: "5 runs")
        let work = Work.product(m: 8192, n: 640, k: 1024, input: .bfloat16, output: .bfloat16)
        report.groups = [
            BenchmarkGroup(
                title: "gemm 8192 x 640 x 1024", section: "gemm", work: work,
                rows: [
                    try row("apus", .ours, [10, 11, 12].map { $0 * scale }, check), try row("cuBLASLt", .peer, [20, 22, 24]),
                    try row("slow", .peer, [40, 41, 42]), try row("copy", .yardstick, [1, 1, 1]),
                ], remarks: ["one row is missing"]),
            BenchmarkGroup(title: "norm", section: "norm", work: .elementwise(1000, 1000), rows: [try row("apus", .ours, [5, 5, 5], check)]),
        ]
        return report
    }

    @Test func speedupIsThePeersMedianOverOurs() throws {
        let report = try Self.report()
        #expect(report.groups[0].speedup == 2)
        #expect(report.groups[1].speedup == nil)
        #expect(report.text.contains("2.00 x the fastest peer") && report.text.contains("measured: 4.1 TB/s, 700 TFLOP/s in bf16"))
    }

    @Test func aReportReadsBackAsItself() throws {
        let report = try Self.report()
        let again = try BenchmarkReport(json: report.json)
        #expect(again.title == report.title && again.machine == report.machine && again.method == report.method)
        #expect(again.groups.map(\.title) == report.groups.map(\.title) && again.groups.map(\.work) == report.groups.map(\.work))
        #expect(again.groups[0].rows.map(\.role) == [.ours, .peer, .peer, .yardstick] && again.groups[0].remarks == ["one row is missing"])
        for (a, b) in zip(again.groups.flatMap(\.rows), report.groups.flatMap(\.rows)) {
            #expect(a.check == b.check && abs(a.spread.median / b.spread.median - 1) < 1e-12)
        }
    }

    @Test(arguments: ["", "[]", "{\"format\": \"other\"}", "{\"format\": \"apus-benchmark-1\", \"groups\": [{}]}"])
    func otherFilesAreRefused(text: String) {
        #expect(throws: BenchmarkReportError.self) { try BenchmarkReport(json: text) }
    }

    @Test func aWrongResultIsMarkedEverywhere() throws {
        let report = try Self.report(.failed("3 of 12 samples"))
        #expect(report.hasFailure && report.groups[0].hasFailure)
        #expect(report.text.contains("✗ apus") && report.text.contains("3 of 12 samples"))
        #expect(report.html.contains("Some results are wrong") && report.html.contains("✗ 3 of 12 samples"))
        #expect(report.markdown.contains("✗"))
        #expect(try !Self.report().hasFailure)
        #expect(try BenchmarkReport(json: report.json).hasFailure)
    }

    /// One page with its plots and nothing from elsewhere.
    @Test func thePageIsCompleteInItself() throws {
        let html = try Self.report().html
        for part in ["http:", "https:", "<script", "<link", "<img", "url("] { #expect(!html.contains(part), "\(part)") }
        #expect(html.components(separatedBy: "<svg").count == 1 + 1 + 2 * 2, "a roofline, and two plots for each section")
        #expect(html.components(separatedBy: "<svg").count == html.components(separatedBy: "</svg>").count)
        #expect(html.contains("a &quot;test&quot; &amp; more") && html.contains("Test &lt;GPU&gt;") && !html.contains("<GPU>"))
    }

    @Test func twoReportsSideBySide() throws {
        let comparison = BenchmarkComparison(baseline: try Self.report(), present: try Self.report(scale: 0.5))
        let line = try #require(comparison.lines.first)
        #expect(line.name == "apus" && abs(line.speedup - 2) < 1e-12 && !line.isWithinSpread)
        #expect(comparison.lines[1].speedup == 1 && comparison.lines[1].isWithinSpread)
        #expect(comparison.unmatched.isEmpty && comparison.warnings.isEmpty)
        #expect(comparison.text.contains("11.0 ->") && comparison.text.contains("2.00 x"))

        var other = try Self.report()
        other.machine.device = "Another"
        other.groups.removeLast()
        let mixed = BenchmarkComparison(baseline: try Self.report(), present: other)
        #expect(mixed.warnings.count == 1 && mixed.unmatched == ["norm, apus: only in the baseline"])
    }

    @Test func timesThatCannotBeMakeNoRow() {
        for samples in [[], [0], [1, -1], [1, .nan], [.infinity]] {
            #expect(BenchmarkRow(name: "x", role: .ours, samples: samples, check: .unchecked("")) == nil)
        }
    }
}
