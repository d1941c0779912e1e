/// Which kernel an operator uses on the GPU.
public enum KernelPath: String, Sendable, Hashable, CaseIterable {
    /// The best that this GPU and these shapes allow.
    case automatic
    /// The one with Hopper's own instructions (compute capability 9.0); an error where it cannot run.
    case hopper
    /// The one for compute capability 8.0 and up, which runs on Hopper too.
    case generic
}
