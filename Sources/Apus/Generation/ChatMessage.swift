public import JSON
import OrderedCollections

/// One message of a conversation, in the form that chat templates read.
public struct ChatMessage: Sendable, Equatable {
    public enum Role: String, Sendable { case system, user, assistant, tool }

    public var role: Role
    public var content: String

    public init(_ role: Role, _ content: String) {
        self.role = role
        self.content = content
    }

    /// `{"role": …, "content": …}`
    public var json: JSONValue { .object(["role": .string(role.rawValue), "content": .string(content)]) }
}
