/// What a template may use up before rendering ends in an error. The defaults leave a real template a wide margin.
public struct TemplateLimits: Sendable, Hashable {
    /// Longest template source that is read, in bytes.
    public var sourceByteCount = 1 << 18
    /// Work units of one rendering: one for each expression and statement that runs, each element of a list and each 16 bytes of text made
    /// on the way. Memory is bounded by it too: a unit makes at most about 64 bytes.
    public var steps = 10_000_000
    /// Longest text that may be rendered, in bytes.
    public var outputByteCount = 1 << 26
    /// Deepest nesting of calls, statements and expressions while rendering.
    public var callDepth = 500

    /// Deepest nesting that the parser takes, of expressions and of statements. Fixed, because it protects the stack.
    static let sourceDepth = 100
    /// Deepest nesting of lists and objects.
    static let valueDepth = 200
    /// Longest `range(...)`, as in Jinja's sandbox.
    static let rangeCount = 100_000

    public init() {}
}
