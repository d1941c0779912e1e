/// How texts are turned into vectors.
public struct EmbeddingOptions: Sendable {
    /// What is put before each text.
    public var prompt: Prompt
    /// Keeps only so many leading dimensions (Matryoshka) and scales to length 1 again; nil for all.
    public var dimensions: Int?
    /// What happens to a text with more tokens than the model takes.
    public var overlong: OverlongPolicy
    /// Most tokens computed together; nil for what suits the device.
    public var tokenBudget: Int?

    public enum Prompt: Sendable, Hashable {
        /// The folder's default prompt where it names one, else none.
        case automatic
        case none
        /// A prompt of the model folder, such as `query`.
        case named(String)
        /// This text itself.
        case text(String)
    }

    public enum OverlongPolicy: Sendable, Hashable {
        /// The text's end is cut off and the cut reported; special tokens stay.
        case cut
        /// The call throws ``ApusError`` with code `inputTooLong`.
        case refuse
    }

    public init(prompt: Prompt = .automatic, dimensions: Int? = nil, overlong: OverlongPolicy = .cut, tokenBudget: Int? = nil) {
        self.prompt = prompt
        self.dimensions = dimensions
        self.overlong = overlong
        self.tokenBudget = tokenBudget
    }
}
