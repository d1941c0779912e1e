/// What a layer computes on its way, for holding one executor against another.
package enum LayerPhase: String, CaseIterable, Sendable {
    /// `[T, H D]`, normed where the family does that, and rotated.
    case queries
    /// `[T, G D]`, normed and rotated, as the cache gets them.
    case keys
    /// `[T, G D]`
    case values
    /// `[T, H D]`, ahead of the output product.
    case attended
    /// `[T, C]`, the residual stream behind the attention.
    case middle = "residual behind attention"
    /// `[T, I]`, activation of gate times up.
    case gated
    /// `[T, C]`, the residual stream behind the layer.
    case hidden = "residual behind the layer"
}
