/// `exp` for probabilities: the same bits on every machine, so that a seed draws the same tokens everywhere.
package enum Exponential {
    /// exp(x) for x up to 0, to about one unit in the last place; 0 below the smallest normal number.
    ///
    /// exp(x) = 2^n · exp(r) with n the integer nearest to x / ln 2; exp(r) by its series, |r| <= ln 2 / 2.
    @inline(__always)
    package static func value(of x: Float) -> Float {
        let clamped = x < -87 ? -87 : x
        // Adding 1.5 · 2^23 rounds to an integer in the number's last bits.
        let shifted = clamped * 1.442695041 + 12_582_912
        let n = shifted - 12_582_912
        // ln 2 in two parts, the first of which n multiplies exactly.
        let r = (clamped - n * 0.693359375) + n * 2.12194440e-4
        var series: Float = 1.0 / 5040
        series = series * r + 1.0 / 720
        series = series * r + 1.0 / 120
        series = series * r + 1.0 / 24
        series = series * r + 1.0 / 6
        series = series * r + 0.5
        series = series * r + 1
        series = series * r + 1
        let power = Float(bitPattern: UInt32(bitPattern: Int32(n) &+ 127) << 23)
        return x < -87 ? 0 : series * power
    }
}
