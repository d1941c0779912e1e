extension JSONReader {
    /// More combining marks in a row than any script stacks; Unicode's own Stream-Safe form allows 30.
    private static let maximumMarkCount = 64

    /// Refuses a key that would be slow to hash.
    ///
    /// Hashing and comparing a `String` puts every run of combining marks in order first, in time quadratic in the run's length: a key of half a
    /// megabyte of them would hang its reader for minutes. Other keys cost time in proportion to their length.
    static func checkHashingCost(of key: String, at offset: Int) throws(JSONError) {
        // No run is longer than the key, and every mark takes at least two bytes.
        guard key.utf8.count > 2 * maximumMarkCount else { return }
        var markCount = 0
        for scalar in key.unicodeScalars {
            if scalar.value < 0x300 || scalar.properties.canonicalCombiningClass == .notReordered {
                markCount = 0
            } else {
                markCount += 1
                guard markCount <= maximumMarkCount else {
                    throw JSONError(.range, at: offset, "a key has more than \(maximumMarkCount) combining marks in a row")
                }
            }
        }
    }
}
