public import JSON

/// A Jinja template, ready to be rendered any number of times and from any thread.
///
/// It prints what Python's `jinja2` prints with the settings that `transformers` uses for chat templates: an immutable sandbox, `trim_blocks` and
/// `lstrip_blocks`, the loop controls `break` and `continue`, the tag `generation`, the functions `raise_exception` and `strftime_now`, and a
/// `tojson` that neither escapes HTML nor sorts keys. What it does not support (inheritance, includes, recursive loops, some filters, integers
/// beyond 64 bits) is an error that names it, never other text.
///
/// Templates come from strangers: nesting, work, output and memory are bounded by ``TemplateLimits``.
public struct Template: Sendable {
    private let program: Program
    private let limits: TemplateLimits
    private let clock: TemplateClock

    /// Parses `source`; throws an error of code `syntax`, `unsupported` or `limit` with the line at fault.
    public init(_ source: String, limits: TemplateLimits = TemplateLimits(), clock: TemplateClock = .system) throws(ChatTemplateError) {
        guard source.utf8.count <= limits.sourceByteCount else {
            throw ChatTemplateError(.limit, line: nil, "the template is longer than \(limits.sourceByteCount) bytes")
        }
        program = try Program(source)
        self.limits = limits
        self.clock = clock
    }

    /// Renders with `context` as the template's variables.
    public func render(context: JSONObject) throws(ChatTemplateError) -> String {
        let renderer: Renderer
        do {
            renderer = try Renderer(program, variables: context, limits: limits, clock: clock)
        } catch let failure as Failure {
            throw ChatTemplateError(failure.code, line: nil, failure.message)
        } catch {
            throw ChatTemplateError(.context, line: nil, "\(error)")
        }
        return try renderer.render()
    }
}
