import CUDA

/// What an executor computes single tokens with.
enum DecodeChoice {
    case resident(DecodeEngine)
    /// Operation by operation, and why.
    case layers(String)

    /// Why layers are taken instead where the caller leaves the choice: a model that the kernel does not compute or does not compile for, or too
    /// little memory for its weights. Nil for other faults.
    static func reason(for error: any Error) -> String? {
        if let error = error as? TransformerError, error.code == .unsupportedModel || error.code == .noHead { return error.message }
        if let error = error as? CUDAError, error.code == .outOfMemory || error.code == .compilation { return error.message }
        return nil
    }
}
