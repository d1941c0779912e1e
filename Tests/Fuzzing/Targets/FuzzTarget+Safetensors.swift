import Foundation
import Tensors

extension FuzzTarget {
    /// The safetensors file: header, checks, and the floats of what was accepted.
    static let safetensors = FuzzTarget(
        name: "safetensors",
        seeds: [
            SafetensorsFormat.join(
                #"{"__metadata__":{"format":"pt","note":"a b"},"model.embed.weight":{"dtype":"BF16","shape":[3,5],"data_offsets":[0,30]},"#
                    + #""model.norm.weight":{"dtype":"F32","shape":[5],"data_offsets":[30,50]},"empty":{"dtype":"F16","shape":[0,7],"data_offsets":[50,50]}}  "#,
                dataByteCount: 50),
            SafetensorsFormat.join(#"{"a":{"dtype":"F8_E4M3","shape":[],"data_offsets":[0,1]}}"#, dataByteCount: 1),
            SafetensorsFormat.join(
                #"{"b":{"dtype":"F16","shape":[2,1,2],"data_offsets":[8,16]},"a":{"data_offsets":[0,8],"shape":[1],"dtype":"F64","more":[{}]}}"#,
                dataByteCount: 16),
            SafetensorsFormat.join(
                #"{"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"u":{"dtype":"U8","shape":[3],"data_offsets":[8,11]},"#
                    + #""x":{"dtype":"F8_E5M2","shape":[2],"data_offsets":[11,13]},"y":{"dtype":"BOOL","shape":[1],"data_offsets":[13,14]}}"#,
                dataByteCount: 14),
            SafetensorsFormat.join("{}", dataByteCount: 0),
        ],
        format: SafetensorsFormat.format,
        dictionary: DType.allCases.map(\.safetensorsName) + ["F4", "__metadata__", "dtype", "shape", "data_offsets", "a", "b"],
        statedMemoryMultiple: 24,
        run: { input in
            let file = try SafetensorsFile(data: Data(input), name: "fuzz")
            var position: Int?
            for name in file.names {
                guard let descriptor = file.tensors[name] else { throw FuzzViolation("a name has no tensor") }
                guard position ?? descriptor.byteRange.lowerBound == descriptor.byteRange.lowerBound else {
                    throw FuzzViolation("the tensors do not lie end to end")
                }
                position = descriptor.byteRange.upperBound
                let tensor = try file.tensor(name)
                guard tensor.byteCount == descriptor.byteCount, tensor.elementCount == descriptor.elementCount else {
                    throw FuzzViolation("a tensor's size is not that of its descriptor")
                }
                // Reads every byte; a header may name no byte twice, so this is bounded by the file.
                if tensor.dtype.isFloatingPoint, try tensor.float32().count != tensor.elementCount { throw FuzzViolation("floats are missing") }
            }
            guard position ?? input.count == input.count else { throw FuzzViolation("the tensors do not end with the file") }
        })
}

/// The frame of a safetensors file, for mutations that change the header and keep its length right.
private enum SafetensorsFormat {
    static let format = FuzzFormat(
        mutate: { input, random, target in
            guard let headerEnd = headerEnd(of: input), random.chance(5, in: 6) else {
                // The length field is where readers of this format broke before.
                if random.chance(1, in: 4) { return ByteMutations.writeNumber(&input, at: 0, &random) }
                return ByteMutations.mutate(&input, &random, target)
            }
            var header = Array(input[8..<headerEnd])
            JSONMutations.mutate(&header, &random, jsonTarget(of: target))
            // Now and then the data grow or shrink with the header's claims.
            var data = Array(input[headerEnd...])
            if random.chance(1, in: 4) { data = [UInt8](repeating: random.byte(), count: random.below(64)) }
            input = join(header, data)
        },
        amplify: { input, random, byteCount in
            guard let headerEnd = headerEnd(of: input), random.chance(3, in: 4) else { return ByteMutations.amplify(&input, &random, byteCount) }
            var header = Array(input[8..<headerEnd])
            JSONMutations.amplify(&header, &random, byteCount)
            // Empty tensors are all that may be many without their data.
            if random.chance(1, in: 2) { header = emptyTensors(byteCount) }
            input = join(header, random.chance(1, in: 2) ? [] : Array(input[headerEnd...]))
        })

    static func join(_ header: String, dataByteCount: Int) -> [UInt8] {
        join(Array(header.utf8), (0..<dataByteCount).map { UInt8(truncatingIfNeeded: $0 &* 37) })
    }

    private static func join(_ header: [UInt8], _ data: [UInt8]) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header + data
    }

    private static func headerEnd(of input: [UInt8]) -> Int? {
        guard input.count >= 8, input[3..<8].allSatisfy({ $0 == 0 }) else { return nil }
        let end = 8 + Int(input[0]) + Int(input[1]) << 8 + Int(input[2]) << 16
        return end <= input.count ? end : nil
    }

    /// The target as the mutations of JSON need it: its seeds without their frame.
    private static func jsonTarget(of target: FuzzTarget) -> FuzzTarget {
        FuzzTarget(name: target.name, seeds: headers, format: .json, dictionary: target.dictionary, statedMemoryMultiple: 0, run: { _ in })
    }

    private static let headers: [[UInt8]] = FuzzTarget.safetensors.seeds.map { seed in headerEnd(of: seed).map { Array(seed[8..<$0]) } ?? [] }

    private static func emptyTensors(_ byteCount: Int) -> [UInt8] {
        var text = Array("{".utf8)
        var number = 0
        while text.count < byteCount {
            text += Array("\"\(String(number, radix: 36))\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},".utf8)
            number += 1
        }
        text[text.count - 1] = UInt8(ascii: "}")
        return text
    }
}
