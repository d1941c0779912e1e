/// The numbers that one compilation of a kernel is made for: every dimension becomes a constant of the source, so that the compiler can unroll and
/// allocate by it.
///
/// They reach the source as a generated header, which the kernel includes. Order of insertion does not matter: the header is sorted by name, so that
/// equal constants make equal text and find the same cache entry.
package struct KernelConstants: Sendable, Hashable {
    private enum Value: Sendable, Hashable {
        case integer(Int)
        case real(Float)
        case flag(Bool)
        /// Text for a `#define`.
        case macro(String)
    }

    private var values: [String: Value] = [:]

    package init() {}

    /// `constexpr int`, or `constexpr long long` beyond 32 bits.
    package mutating func set(_ name: String, _ value: Int) { values[name] = .integer(value) }

    /// `constexpr float`, written so that every bit comes back.
    package mutating func set(_ name: String, _ value: Float) { values[name] = .real(value) }

    /// `constexpr bool`.
    package mutating func set(_ name: String, _ value: Bool) { values[name] = .flag(value) }

    /// `#define name text`, for what `#if` asks for and for names of types.
    package mutating func define(_ name: String, _ text: String) { values[name] = .macro(text) }

    /// `#define name value`.
    package mutating func define(_ name: String, _ value: Int) { values[name] = .macro("\(value)") }

    package var isEmpty: Bool { values.isEmpty }

    /// The name that kernels include the header by.
    package static let headerName = "apus_constants.h"

    /// The header's text. Throws for a name that is no identifier, a number that C++ cannot write, a macro of more than one line.
    package func header() throws(CUDAError) -> String {
        var text = "#pragma once\n"
        for (name, value) in values.sorted(by: { $0.key < $1.key }) {
            guard Self.isIdentifier(name) else { throw CUDAError(.kernelSource, "\"\(name)\" cannot name a kernel's constant") }
            text += try Self.line(name, value)
        }
        return text
    }

    private static func line(_ name: String, _ value: Value) throws(CUDAError) -> String {
        switch value {
        case .integer(let number):
            // The most negative number of a type has no literal of its own.
            if number == Int.min { return "constexpr long long \(name) = \(number + 1)ll - 1;\n" }
            if Int32(exactly: number) == nil { return "constexpr long long \(name) = \(number)ll;\n" }
            return number == Int(Int32.min) ? "constexpr int \(name) = \(number + 1) - 1;\n" : "constexpr int \(name) = \(number);\n"
        case .real(let number):
            // Swift prints the shortest decimal text that reads back as the same number.
            guard number.isFinite else { throw CUDAError(.kernelSource, "the kernel's constant \(name) is \(number), which is no number") }
            return "constexpr float \(name) = \(number)f;\n"
        case .flag(let flag):
            return "constexpr bool \(name) = \(flag);\n"
        case .macro(let text):
            guard !text.utf8.contains(where: { $0 == 0x0A || $0 == 0x0D || $0 == 0 }) else {
                throw CUDAError(.kernelSource, "the kernel's macro \(name) has more than one line")
            }
            return "#define \(name) \(text)\n"
        }
    }

    private static func isIdentifier(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(0x30...0x39).contains(first) else { return false }
        return name.utf8.allSatisfy { byte in
            byte == 0x5F || (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        }
    }
}
