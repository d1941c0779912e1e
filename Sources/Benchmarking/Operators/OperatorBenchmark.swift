import CUDA
import Foundation
package import Operators
import Tensors

/// Times the operators on a GPU at the shapes of models, beside cuBLASLt in this process and other systems in theirs.
///
/// Every result is held against the CPU reference at sampled places before it is timed.
package final class OperatorBenchmark {
    /// One piece of work: what it is called, what it costs at the least, and how its competitors are made.
    package struct Case {
        /// The section of the report: gemm, gatedMLP, fp8Gemm, norm, attention, quantize or rows.
        package let section: String
        /// With sizes and types; peers know the work by it.
        package let title: String
        package let work: Work
        /// What a tuned choice for it is kept under.
        package let tuningKey: TuningKey?
        let make: (OperatorBenchmark) throws -> [BenchmarkSuite.Entry]

        init(
            _ section: String, _ title: String, _ work: Work, key: TuningKey? = nil,
            make: @escaping (OperatorBenchmark) throws -> [BenchmarkSuite.Entry]
        ) {
            self.section = section
            self.title = title
            self.work = work
            tuningKey = key
            self.make = make
        }
    }

    package let context: OperatorContext
    package let suite: BenchmarkSuite
    let inputs: BenchmarkInputs
    /// cuBLASLt; nil where it is not on this machine.
    let matrixLibrary: MatrixLibrary?
    private var peer: PeerProcess?
    /// Whether cuBLASLt runs beside ours.
    package var includesPeers = true

    /// - Parameter peerCommand: Another system's benchmark: see ``PeerProcess``.
    package init(_ context: OperatorContext, options: BenchmarkSuite.Options, peerCommand: String? = nil, seed: UInt64 = 1) throws {
        self.context = context
        suite = try BenchmarkSuite(on: context.stream, options: options)
        inputs = BenchmarkInputs(context, seed: seed)
        matrixLibrary = try? MatrixLibrary(context.context)
        peer = try peerCommand.map { try PeerProcess(commandLine: $0) }
    }

    /// All cases, in the order of the report.
    package static var cases: [Case] { products + gatedProducts + float8Products + norms + attentions + quantizations + rowCases }

    /// The machine, with the versions of what takes part.
    package func machine() throws -> BenchmarkMachine {
        var machine = try BenchmarkMachine(context.device)
        if let version = matrixLibrary?.version { machine.versions["cuBLASLt"] = "\(version)" }
        return machine
    }

    /// What this GPU reaches today: the rate of a copy of 2 GiB by the driver, read and written bytes counted, and cuBLASLt's in bf16 at 8192 cubed.
    package func ceilings() throws -> Peaks {
        let byteCount = 1 << 31
        let buffers = try (0..<2).map { _ in try inputs.tensor(.bfloat16, [byteCount / 2]) }
        // Not in a graph: there a copy of 512 MiB and more takes another way, at two thirds of the rate (an H200, driver 580).
        let copy = try suite.medianSeconds(
            { [context] _ in try context.stream.copy(BenchmarkInputs.region(buffers[0]), to: BenchmarkInputs.region(buffers[1])) },
            isCapturable: false)
        var ceilings = Peaks(bandwidth: 2 * Double(byteCount) / copy, source: "measured here, a copy and cuBLASLt at 8192 cubed")
        let size = 8192
        let product = MatrixProduct(m: size, n: size, k: size, a: .bfloat16, b: .bfloat16, output: .bfloat16)
        guard let library = matrixLibrary, let plan = try? MatrixPlan(product, library: library) else { return ceilings }
        let a = try (0..<2).map { _ in try inputs.tensor(.bfloat16, [size, size]) }
        let c = try context.tensor(.bfloat16, [size, size])
        let seconds = try suite.medianSeconds { [context] _ in
            try plan.run(a: a[0].address, b: a[1].address, output: c.address, on: context.stream)
        }
        ceilings.bf16 = Work.product(m: size, n: size, k: size, input: .bfloat16, output: .bfloat16).operations / seconds
        return ceilings
    }

    /// Measures one case.
    package func run(_ test: Case) throws -> BenchmarkGroup {
        var peers: [(name: String, samples: [Double])] = []
        let entries = try test.make(self)
        let raced = try suite.race(entries) {
            guard let peer else { return }
            for (name, samples) in try peer.measure(test.title) {
                if let index = peers.firstIndex(where: { $0.name == name }) {
                    peers[index].samples += samples
                } else {
                    peers.append((name, samples))
                }
            }
        }
        var group = BenchmarkGroup(title: test.title, section: test.section, work: test.work, rows: raced.rows, remarks: raced.remarks)
        for (name, samples) in peers {
            // A row that a peer calls a copy, or that names itself a part of the work, is no competitor.
            let role: BenchmarkRole = name.contains("copy") || name.contains("alone") ? .yardstick : .peer
            if let row = BenchmarkRow(name: name, role: role, samples: samples, check: .unchecked("another program's result")) {
                group.rows.append(row)
            } else {
                group.remarks.append("\(name): the peer gave no usable times")
            }
        }
        return group
    }

    // MARK: What cases need

    /// Marks all bytes of a result as not written: they are NaN in every type.
    func poison(_ tensor: DeviceTensor) throws {
        try context.stream.fill(BenchmarkInputs.region(tensor), with: 0xFF)
    }

    /// The first, some middle and the last indices below a bound, in runs of up to `length`.
    func sampledRanges(of count: Int, length: Int) -> [Range<Int>] {
        let length = min(length, count)
        let middle = inputs.index(below: count - length + 1)
        return [0..<length, middle..<middle + length, count - length..<count]
    }

    func download(_ tensor: DeviceTensor) throws -> HostTensor { try context.download(tensor) }

    /// Holds sampled parts against their references.
    static func judge(_ comparisons: [Comparison]) -> BenchmarkCheck {
        let count = comparisons.reduce(0) { $0 + $1.count }
        let largest = comparisons.map(\.maximumAbsoluteError).max() ?? 0
        guard count > 0 else { return .failed("nothing was compared") }
        guard let bad = comparisons.first(where: { !$0.passes }), let place = bad.firstBad else {
            return .passed("\(count) samples, largest error \(String(format: "%.1e", largest))")
        }
        let wrong = comparisons.reduce(0) { $0 + $1.violationCount }
        return .failed("\(wrong) of \(count) samples beyond \(bad.tolerance); first \(place)")
    }

    /// For values of size about 1 rounded to a type.
    static func tolerance(_ dtype: DType, absolute: Double = 1e-4) -> Tolerance {
        switch dtype {
        case .bfloat16: Tolerance(absolute: absolute, relative: 8e-3)
        case .float16: Tolerance(absolute: absolute, relative: 1e-3)
        default: Tolerance(absolute: absolute, relative: 1e-4)
        }
    }
}
