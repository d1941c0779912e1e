import Benchmarking
import Foundation
import Testing

@Suite struct DivergenceTests {
    @Test func divergenceOfTwoOutcomes() {
        // p = 1/4, 3/4 expected; q = 1/2, 1/2 found.
        let divergence = DeviceVerifier.divergence(of: [1, 1], from: [0, Float(log(3.0))])
        #expect(abs(divergence - (0.25 * log(0.5) + 0.75 * log(1.5))) < 1e-6)
        #expect(abs(DeviceVerifier.divergence(of: [3, 1, 2], from: [103, 101, 102])) < 1e-12)
        #expect(DeviceVerifier.divergence(of: [.nan, 1], from: [1, 1]).isNaN)
    }
}
