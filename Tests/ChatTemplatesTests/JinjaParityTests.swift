import ChatTemplates
import Foundation
import JSON
import OrderedCollections
import Testing

/// Every rendered text against the one that jinja2 gives under transformers' settings.
@Suite("Templates render as under jinja2")
struct JinjaParityTests {
    @Test("each construct")
    func constructs() throws {
        let goldens = try Goldens.read("constructs.json")
        let context = try #require(goldens["context"]?.objectValue)
        let cases = try #require(goldens["cases"]?.arrayValue)
        #expect(cases.count > 150)
        for golden in cases {
            let source = try #require(golden["source"]?.stringValue)
            let outcome = Outcome { () throws(ChatTemplateError) in try Template(source, clock: Goldens.clock).render(context: context) }
            if let difference = outcome.difference(from: golden["expected"], isComplete: true) {
                Issue.record("\(source.debugDescription): \(difference)")
            }
        }
    }

    @Test("random templates")
    func randomTemplates() throws {
        try compareTemplates(try Goldens.read("random-templates.json"), minimumRendered: 300)
    }

    @Test(
        "more random templates",
        .enabled(if: casesPath("APUS_TEMPLATE_CASES") != nil, "APUS_TEMPLATE_CASES names no file; make_goldens.py --templates writes one"))
    func moreRandomTemplates() throws {
        let path = try #require(Self.casesPath("APUS_TEMPLATE_CASES"))
        try compareTemplates(try Goldens.json(at: URL(fileURLWithPath: path)), minimumRendered: 0)
    }

    static func casesPath(_ variable: String) -> String? { ProcessInfo.processInfo.environment[variable] }

    private func compareTemplates(_ goldens: JSONValue, minimumRendered: Int) throws {
        let contexts = try #require(goldens["contexts"]?.objectValue)
        let cases = try #require(goldens["cases"]?.arrayValue)
        var rendered = 0
        for golden in cases {
            let source = try #require(golden["source"]?.stringValue)
            let context = try #require(contexts[golden["context"]?.stringValue ?? ""]?.objectValue)
            let outcome = Outcome { () throws(ChatTemplateError) in try Template(source, clock: Goldens.clock).render(context: context) }
            if case .text = outcome { rendered += 1 }
            if let difference = outcome.difference(from: golden["expected"], isComplete: false) {
                Issue.record("\(source.debugDescription): \(difference)")
            }
        }
        #expect(rendered >= minimumRendered, "only \(rendered) of \(cases.count) templates rendered")
    }
}
