import JSON
package import OrderedCollections

/// What a sentence-transformers folder says about turning token vectors into one vector: modules.json and the files that it leads to.
///
/// Follows sentence-transformers 2 to 6. A module or option that Apus does not compute is an error that names it, since leaving it out
/// would give vectors that look right and are not.
package struct SentenceTransformersConfiguration: Sendable, Equatable {
    package enum Pooling: String, Sendable {
        case lastToken = "lasttoken"
        case mean
        case firstToken = "cls"
    }

    package struct Dense: Sendable, Equatable {
        package enum Activation: Sendable { case identity, tanh }

        package var inputFeatures: Int
        package var outputFeatures: Int
        package var hasBias: Bool
        package var activation: Activation
        /// A safetensors file with `linear.weight` [outputFeatures, inputFeatures] and, with ``hasBias``, `linear.bias` [outputFeatures].
        package var weightsFile: String

        package init(inputFeatures: Int, outputFeatures: Int, hasBias: Bool, activation: Activation, weightsFile: String) {
            self.inputFeatures = inputFeatures
            self.outputFeatures = outputFeatures
            self.hasBias = hasBias
            self.activation = activation
            self.weightsFile = weightsFile
        }
    }

    /// A step behind pooling.
    package enum Step: Sendable, Equatable {
        case dense(Dense)
        case normalize
    }

    /// How two vectors of this model are meant to be compared.
    package enum Similarity: String, Sendable { case cosine, dot, euclidean, manhattan }

    /// The sub-folder of the transformer itself; "" for the root, where it lies in all but very old folders.
    package var transformerPath = ""
    package var pooling: Pooling
    /// False where the tokens of the prompt are left out of pooling.
    package var poolsPrompt = true
    /// What comes behind pooling, in order.
    package var steps: [Step]
    /// `max_seq_length`, or nil where the tokenizer's own limit counts.
    package var maximumSequenceLength: Int?
    package var lowercases = false
    /// The texts that are put before an input, by name.
    package var prompts: OrderedDictionary<String, String> = [:]
    /// The prompt that is used where none is asked for; always a key of ``prompts``.
    package var defaultPromptName: String?
    package var similarity = Similarity.cosine

    package init(pooling: Pooling, steps: [Step]) {
        self.pooling = pooling
        self.steps = steps
    }

    package var denseLayers: [Dense] {
        steps.compactMap { if case .dense(let dense) = $0 { dense } else { nil } }
    }

    package var normalizes: Bool { steps.last == .normalize }
}
