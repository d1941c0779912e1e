/// A token that is looked for in the text itself, before anything splits it.
public struct AddedToken: Sendable, Hashable {
    public let id: Int
    public let content: String
    /// Left out of decoded text unless asked for.
    public let isSpecial: Bool
    /// Matches only where no word character stands next to it.
    public let isSingleWord: Bool
    /// Takes the white space before it.
    public let stripsLeft: Bool
    /// Takes the white space behind it.
    public let stripsRight: Bool
    /// Is looked for in normalised text, in its own normalised form.
    public let isNormalized: Bool
}
