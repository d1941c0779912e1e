#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// The environment variables that this module reads, behind one door, so that tests need not change the process's own.
package struct Environment: Sendable {
    private let lookUp: @Sendable (String) -> String?

    /// The process's variables.
    package static let process = Environment { name in getenv(name).map { String(cString: $0) } }

    package init(_ values: [String: String]) {
        lookUp = { values[$0] }
    }

    private init(lookUp: @escaping @Sendable (String) -> String?) {
        self.lookUp = lookUp
    }

    /// A variable's value; nil when it is not set or empty.
    package subscript(name: String) -> String? {
        guard let value = lookUp(name), !value.isEmpty else { return nil }
        return value
    }

    /// True when the variable is set to anything but 0.
    package func isOn(_ name: String) -> Bool {
        guard let value = self[name] else { return false }
        return value != "0"
    }
}
