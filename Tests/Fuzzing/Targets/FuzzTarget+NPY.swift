import Foundation
import Tensors

extension FuzzTarget {
    /// The `.npy` reader.
    static let npy = FuzzTarget(
        name: "npy",
        seeds: [
            file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n", version: 1, elementCount: 6),
            file("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", version: 1, elementCount: 1),
            file("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }\n", version: 2, elementCount: 5),
            file("{\"shape\":(1,2L,1,),\"descr\":\"<f4\",\"fortran_order\":False}", version: 3, elementCount: 2),
        ],
        format: FuzzFormat(
            mutate: { input, random, target in
                if random.chance(1, in: 5) {
                    let shape = (0..<random.below(4)).map { _ in random.below(6) }
                    let sizes = shape.map(String.init).joined(separator: ",") + (shape.count == 1 ? "," : "")
                    let text = "{'descr':'<f4','fortran_order':False,'shape':(\(sizes))}" + String(repeating: " ", count: random.below(70))
                    let elementCount = shape.reduce(1, *) + random.pick([0, 0, 0, 0, -1, 1])
                    input = file(text, version: UInt8(1 + random.below(3)), elementCount: max(0, elementCount))
                    return
                }
                let lengthByteCount = input.count > 6 && input[6] != 1 ? 4 : 2
                let start = 8 + lengthByteCount
                guard random.chance(3, in: 4), start <= input.count else { return ByteMutations.mutate(&input, &random, target) }
                let end = start + Int(input[8]) + Int(input[9]) << 8
                guard end <= input.count else { return ByteMutations.mutate(&input, &random, target) }
                var text = Array(input[start..<end])
                TextMutations.mutate(&text, &random, target)
                let length = text.count
                let data = input[end...]
                input = input[..<8] + (0..<lengthByteCount).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + text
                input += random.chance(1, in: 4) ? [UInt8](repeating: random.byte(), count: random.below(10) * 4)[...] : data
            },
            amplify: ByteMutations.amplify),
        dictionary: [
            "'descr'", "'fortran_order'", "'shape'", "True", "False", "(", ")", "()", ",", ":", "{", "}", "'<f4'", "'>f4'", "'<f8'", "[('a', '<f4')]",
            "1,",
            "0,", "L", " ", "9223372036854775807", "4294967296", "-1", "'", "\"", "\\",
        ],
        statedMemoryMultiple: 16,
        run: { input in
            let tensor = try NPY.read(Data(input), name: "fuzz")
            guard try tensor.float32().count == tensor.shape.reduce(1, *) else {
                throw FuzzViolation("the elements are not as many as the shape says")
            }
        })

    private static func file(_ text: String, version: UInt8, elementCount: Int) -> [UInt8] {
        let length = (0..<(version == 1 ? 2 : 4)).map { UInt8(truncatingIfNeeded: text.utf8.count >> (8 * $0)) }
        return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + Array(text.utf8)
            + (0..<(4 * elementCount)).map { UInt8(truncatingIfNeeded: $0 &* 29) }
    }
}
