package import CUDA

/// All that was measured in one run, with all that is needed to measure it again.
package struct BenchmarkReport: Sendable, Equatable {
    package var title: String
    /// The command line.
    package var command: String
    /// The version of this program; a commit where the caller names one.
    package var version: String
    /// UTC, such as 2026-11-21T14:05:00Z.
    package var date: String
    package var machine: BenchmarkMachine
    /// How it was timed, in words: runs, calls a run, warm or cold L2.
    package var method: String
    package var groups: [BenchmarkGroup]

    package init(
        title: String, command: String, version: String, date: String, machine: BenchmarkMachine, method: String, groups: [BenchmarkGroup] = []
    ) {
        self.title = title
        self.command = command
        self.version = version
        self.date = date
        self.machine = machine
        self.method = method
        self.groups = groups
    }

    package var hasFailure: Bool { groups.contains { $0.hasFailure } }

    /// The sections in the order of their first groups.
    package var sections: [(name: String, groups: [BenchmarkGroup])] {
        var order: [String] = []
        for group in groups where !order.contains(group.section) { order.append(group.section) }
        return order.map { name in (name, groups.filter { $0.section == name }) }
    }
}

/// The machine that a report was made on.
package struct BenchmarkMachine: Sendable, Equatable {
    package var device: String
    package var computeCapability: String
    /// The driver's version and the CUDA version that it supports.
    package var driver: String
    /// Versions of compilers and libraries, by name.
    package var versions: [String: String]
    /// Rates on paper.
    package var peaks: Peaks
    /// Rates that this machine reached in this run; nil where nobody measured them.
    package var ceilings: Peaks?

    package init(
        device: String, computeCapability: String, driver: String, versions: [String: String], peaks: Peaks, ceilings: Peaks? = nil
    ) {
        self.device = device
        self.computeCapability = computeCapability
        self.driver = driver
        self.versions = versions
        self.peaks = peaks
        self.ceilings = ceilings
    }

    /// A GPU, with NVRTC's version where it is there.
    package init(_ device: Device) throws {
        let cuda = try Driver.shared().version
        let driver = (try? DeviceMonitor(device))?.driverVersion
        var versions: [String: String] = [:]
        if let compiler = try? Compiler.shared() { versions["NVRTC"] = "\(compiler.nvrtc.version)" }
        self.init(
            device: device.name, computeCapability: "\(device.computeCapability)",
            driver: driver.map { "\($0) (CUDA \(cuda))" } ?? "CUDA \(cuda)", versions: versions, peaks: Peaks(device))
    }
}
