import JSON

/// What the post-processor puts around a text.
struct Template: Sendable {
    enum Piece: Sendable {
        case text
        case tokens([Int32])
    }

    var pieces: [Piece] = [.text]
}

extension Section {
    /// Reads a post-processor. `hasToken` tells whether an id is one of the tokenizer's.
    func template(_ hasToken: (Int32) -> Bool) throws(TokenizerError) -> Template {
        var template: Template?
        try readPostProcessor(&template, hasToken)
        return template ?? Template()
    }

    private func readPostProcessor(_ template: inout Template?, _ hasToken: (Int32) -> Bool) throws(TokenizerError) {
        switch try type() {
        case "ByteLevel": break  // moves offsets only
        case "Sequence":
            for element in try required("processors").elements() { try element.readPostProcessor(&template, hasToken) }
        case "TemplateProcessing", "BertProcessing", "RobertaProcessing":
            guard template == nil else { throw failure(.unsupported, "a second processor that adds tokens is not supported") }
            template = try type() == "TemplateProcessing" ? readTemplate(hasToken) : readClassifier(hasToken)
        default: throw try unsupportedType("Sequence, TemplateProcessing, ByteLevel, BertProcessing and RobertaProcessing")
        }
    }

    private func readTemplate(_ hasToken: (Int32) -> Bool) throws(TokenizerError) -> Template {
        let tokens = try required("special_tokens")
        // Two texts are not encoded together here, but their template must make sense all the same.
        if let pair = optional("pair") { _ = try pair.pieces(tokens, allowsSecond: true, hasToken) }
        return Template(pieces: try required("single").pieces(tokens, allowsSecond: false, hasToken))
    }

    private func pieces(_ tokens: Section, allowsSecond: Bool, _ hasToken: (Int32) -> Bool) throws(TokenizerError) -> [Template.Piece] {
        let elements = try elements()
        var pieces: [Template.Piece] = []
        for element in elements {
            if let sequence = element.optional("Sequence") {
                let id = try sequence.required("id").string()
                guard id == "A" || (id == "B" && allowsSecond) else {
                    throw sequence.failure(.invalid, "'\(id)' is no sequence that this template can have")
                }
                pieces.append(.text)
            } else if let token = element.optional("SpecialToken") {
                let name = try token.required("id").string()
                guard let entry = tokens.optional(name) else {
                    throw token.failure(.unknownToken, "'\(name)' is not among the processor's special_tokens")
                }
                let ids = try entry.required("ids").elements()
                var list: [Int32] = []
                for element in ids {
                    let id = try element.id()
                    guard hasToken(id) else { throw element.failure(.unknownToken, "no token has the id \(id)") }
                    list.append(id)
                }
                pieces.append(.tokens(list))
            } else {
                throw element.failure(.invalid, "expected {\"Sequence\": ...} or {\"SpecialToken\": ...}")
            }
        }
        return pieces
    }

    /// `BertProcessing` and `RobertaProcessing`: `cls` before the text and `sep` behind it, each a pair of content and id.
    private func readClassifier(_ hasToken: (Int32) -> Bool) throws(TokenizerError) -> Template {
        func id(_ key: String) throws(TokenizerError) -> Int32 {
            let elements = try required(key).elements()
            guard elements.count == 2 else { throw failure(.invalid, "'\(key)' must be a pair of content and id") }
            let id = try elements[1].id()
            guard hasToken(id) else { throw elements[1].failure(.unknownToken, "no token has the id \(id)") }
            return id
        }
        return Template(pieces: [.tokens([try id("cls")]), .text, .tokens([try id("sep")])])
    }
}
