import ArgumentParser
import CUDA
import Operators

/// Which random cases `verify --operators` runs.
struct OperatorCaseArguments: ParsableArguments {
    @Option(help: "Random cases of each operator on each path.")
    var cases: Int = 100

    @Option(name: .customLong("operator"), help: "Verify this operator; may be given more than once. All when left out.")
    var names: [String] = []

    @Flag(help: "Use the choices that 'apus tune' kept for this GPU.")
    var tuned = false

    @Flag(help: "Let kernels start while the one ahead of them runs (compute capability 9.0).")
    var overlap = false

    /// The first option that differs from what it is when left out.
    var changed: String? {
        cases != 100 ? "--cases" : !names.isEmpty ? "--operator" : tuned ? "--tuned" : overlap ? "--overlap" : nil
    }

    func validate() throws {
        if cases < 1 || cases > 100_000 { throw ValidationError("--cases is \(cases), expected 1 to 100000") }
    }
}

extension DeviceSelection {
    /// A GPU for work that has no other place; says why there is none.
    func requireGPU(for work: String) throws -> Device {
        switch self {
        case .cpu: throw ValidationError("\(work) needs a GPU; leave --device cpu out")
        case .cuda: break
        case .automatic:
            if let device = try resolve() { return device }
            // Either of these says what is missing.
            _ = try Driver.shared()
            if let old = try Device.all().first { return try DeviceSelection.cuda(old.ordinal).requireGPU(for: work) }
        }
        guard let device = try (self == .automatic ? .cuda(0) : self).resolve() else { throw ValidationError("\(work) needs a GPU") }
        return device
    }
}
