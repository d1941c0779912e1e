/// What a kernel is compiled for, in NVRTC's words: "sm_80", "sm_90a".
///
/// From 9.0 on it is the variant with the letter a, which has the instructions of just that GPU (wgmma, setmaxnreg, tcgen05) and runs on no other.
package struct Architecture: Sendable, Hashable, CustomStringConvertible {
    package let computeCapability: ComputeCapability
    package let suffix: String

    /// The best one for a GPU.
    package init(_ computeCapability: ComputeCapability) {
        self.computeCapability = computeCapability
        suffix = computeCapability.major >= 9 ? "a" : ""
    }

    /// Reads "80", "90a" or "sm_90a".
    package init(_ text: String) throws(CUDAError) {
        let name = text.hasPrefix("sm_") ? text.dropFirst(3) : text[...]
        let digits = name.prefix { $0.isASCII && $0.isNumber }
        let suffix = name.dropFirst(digits.count)
        guard digits.count >= 2, digits.count <= 3, let number = Int(digits), ["", "a", "f"].contains(suffix) else {
            throw CUDAError(.invalidArgument, "\"\(text)\" is no GPU architecture: expected a name such as sm_80 or sm_90a")
        }
        computeCapability = ComputeCapability(number / 10, number % 10)
        self.suffix = String(suffix)
    }

    /// The number that NVRTC lists it under.
    package var number: Int { computeCapability.major * 10 + computeCapability.minor }

    package var description: String { "sm_\(number)\(suffix)" }
}
