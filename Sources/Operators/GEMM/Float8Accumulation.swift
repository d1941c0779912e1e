import Tensors

/// How the sums of fp8 products are kept on Hopper, whose tensor cores hold about 14 bits of a sum.
///
/// Relative error of the sums by themselves (norm, normal data, against double precision): exact 1.3e-4 at every K; fast 3.9e-4 at K = 640, 5.4e-4 at
/// 1,024, 8.5e-4 at 2,048, 2.0e-3 at 8,192. Rounding the result to bf16 costs 1.7e-3 of each element, but the error of a fast sum is one of its largest
/// partial sums: an element near zero, whose products cancel, shows it whole. The generic path adds up in fp32 always.
public enum Float8Accumulation: String, Sendable, Hashable, CaseIterable {
    /// Exact, and the tensor cores' own sums where these are the same: up to K = 128.
    case automatic
    /// Every 128 of K are added up in fp32 outside of the tensor cores.
    case exact
    /// The tensor cores' own sums, 5 to 20 percent faster: what other libraries call fast accumulation and leave to be asked for, too.
    case fast

    package func promotes(k: Int) -> Bool {
        switch self {
        case .automatic: k > 128
        case .exact: true
        case .fast: false
        }
    }
}
