import CUDA
import Dispatch
import Foundation
import Operators
import Synchronization
import Tensors
import Testing

/// The rule, and the cases, without a GPU.
@Suite struct VerificationTests {
    @Test func theRule() throws {
        let expected = try HostTensor([1, 2, -4, 0, .nan, .infinity], shape: [2, 3])
        func compare(_ values: [Float], _ tolerance: Tolerance = Tolerance(absolute: 0.01, relative: 0.1)) throws -> Comparison {
            try Comparison(HostTensor(values, shape: [2, 3]), expected, tolerance)
        }
        #expect(try compare([1, 2, -4, 0, .nan, .infinity], .exact).passes)
        #expect(try compare([1.1, 1.8, -4.4, 0.009, .nan, .infinity]).passes)
        let off = try compare([1, 2, -4, 0.02, .nan, .infinity])
        #expect(off.violationCount == 1)
        #expect(off.firstBad?.index == [1, 0])
        #expect(off.maximumAbsoluteError == Double(Float(0.02)))
        #expect(off.maximumRelativeError == 0)
        // Either bound alone is not enough to pass where their sum is not met, and the sum is the rule.
        #expect(try !compare([1.12, 2, -4, 0, .nan, .infinity]).passes)
        #expect(try compare([1.105, 2, -4, 0, .nan, .infinity]).passes)
        #expect(try compare([1, 2, -4, 0, 5, .infinity]).firstBad?.index == [1, 1])
        #expect(try compare([1, .nan, -4, 0, .nan, .infinity]).firstBad?.index == [0, 1])
        #expect(try !compare([1, 2, -4, 0, .nan, -.infinity]).passes)
        #expect(try !compare([1, 2, -4, 0, .nan, 1e30]).passes)
        let wide = try compare([1.5, 2, -4, 0, .nan, .infinity])
        #expect(wide.maximumRelativeError == 0.5 && wide.meanRelativeError == 0.5 / 3 && wide.meanAbsoluteError == 0.125)
        #expect(errorOf { _ = try Comparison(HostTensor([1], shape: [1]), expected, .exact) }?.code == .shape)
    }

    @Test func everyOperatorMakesItsCases() throws {
        let made = try OperatorVerification(seed: 7, caseCount: 2).makeCases()
        #expect(made.count == OperatorVerification.operatorNames.count + 4, "four operators have two paths")
        for entry in made { #expect(entry.elementCount > 0, "\(entry.name)") }
        // The seed fixes them.
        let again = try OperatorVerification(seed: 7, caseCount: 2).makeCases()
        #expect(made.map(\.elementCount) == again.map(\.elementCount))
        let others = try OperatorVerification(seed: 8, caseCount: 2).makeCases()
        #expect(made.map(\.elementCount) != others.map(\.elementCount))
    }
}

/// Every form that the operators ask for compiles for every architecture, where NVRTC is there.
@Suite struct KernelFormTests {
    private static let compiler = try? Compiler(environment: Environment(variables))
    /// Without the user's cache and kernels.
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }

    @Test(
        .enabled(if: compiler != nil, "needs NVRTC: name libnvrtc in APUS_NVRTC"),
        arguments: ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"])
    func everyFormCompilesWithoutSpills(name: String) throws {
        let architecture = try Architecture(name)
        let compiler = try #require(Self.compiler)
        let forms = try OperatorKernels.representative(for: architecture)
        let faults = Mutex<[String]>([])
        DispatchQueue.concurrentPerform(iterations: forms.count) { index in
            let form = forms[index]
            let fault: String?
            do {
                let kernels = try compiler.compile(form.path, constants: form.constants, for: architecture)
                let figures = kernels.figures.first { $0.name == form.entry }
                fault = figures.map { $0.spills ? "spills \($0.spillStoreByteCount) + \($0.spillLoadByteCount) bytes" : nil } ?? "no such kernel"
            } catch {
                fault = "\(error)"
            }
            if let fault { faults.withLock { $0.append("\(form.title): \(fault)") } }
        }
        #expect(faults.withLock { $0 } == [])
        #expect(Set(forms.map(\.entry)).count == (name == "sm_90a" ? 19 : 17))
    }

    @Test func hopperKernelsAreForHopper() throws {
        let forms = try OperatorKernels.representative(for: Architecture("sm_80"))
        #expect(!forms.contains { $0.path.contains("Hopper") })
        #expect(try OperatorKernels.representative(for: Architecture("sm_90a")).contains { $0.path.contains("Hopper") })
    }
}
