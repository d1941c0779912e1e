import CUDA
import Testing

/// An ELF file with nothing but section names and `.nv.info` sections.
enum ImageFixture {
    static func image(_ kernels: [(name: String, sizes: [Int])]) -> [UInt8] {
        func number(_ value: Int, _ byteCount: Int) -> [UInt8] { (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        var names: [UInt8] = [0]
        var sections: [(name: Int, bytes: [UInt8])] = []
        for kernel in kernels {
            // A record of another form and kind comes first, as in real images.
            var records: [UInt8] = [3, 0x19, 0x10, 0]
            var offset = kernel.sizes.reduce(0, +)
            for (index, size) in kernel.sizes.enumerated().reversed() {
                offset -= size
                records += [4, 0x17, 12, 0] + number(0, 4) + number(index, 2) + number(offset, 2) + number(size << 18 | 0xF000, 4)
            }
            sections.append((names.count, records))
            names += Array(".nv.info.\(kernel.name)".utf8) + [0]
        }
        sections.append((0, names))
        var body: [UInt8] = []
        var table: [UInt8] = []
        for section in sections {
            table += number(section.name, 4) + number(0, 20) + number(64 + body.count, 8) + number(section.bytes.count, 8) + number(0, 24)
            body += section.bytes
        }
        var header: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + number(0, 33) + number(64 + body.count, 8) + number(0, 10)
        header += number(64, 2) + number(sections.count, 2) + number(sections.count - 1, 2)
        return header + body + table
    }
}

@Suite("Images of machine code")
struct KernelImageTests {
    @Test("parameters are read by kernel, in their own order")
    func parameters() {
        let image = KernelImage(ImageFixture.image([("store", [8, 4]), ("empty", []), ("large", [128, 8, 3000])]))
        #expect(image.parameterSizes == ["store": [8, 4], "empty": [], "large": [128, 8, 3000]])
        #expect(KernelImage([]).parameterSizes.isEmpty)
    }

    @Test("what is cut or changed is never read past its end")
    func damage() {
        let sound = ImageFixture.image([("store", [8, 4]), ("large", [128, 8, 3000])])
        for count in 0..<sound.count { _ = KernelImage(Array(sound.prefix(count))) }
        for offset in sound.indices {
            for value in [0x00, 0x01, 0x7F, 0x80, 0xFF] as [UInt8] {
                var changed = sound
                changed[offset] = value
                _ = KernelImage(changed)
            }
        }
        for start in stride(from: 0, to: sound.count - 8, by: 4) {
            var changed = sound
            for index in start..<start + 8 { changed[index] = 0xFF }
            _ = KernelImage(changed)
        }
    }

    @Test(
        "what NVRTC makes is understood", .enabled(if: CompilerFixture.isAvailable, CompilerFixture.reason),
        arguments: ["sm_80", "sm_90a", "sm_120a"])
    func compiled(architecture: String) throws {
        try CompilerFixture.withFolder { folder in
            let text = """
                struct alignas(64) Map { char bytes[128]; };
                struct Twenty { char bytes[20]; };
                extern "C" __global__ void mixed(const __grid_constant__ Map m, short* p, int a, Twenty s, char c, double d) {
                    p[a] = m.bytes[a] + s.bytes[a] + c + d;
                }
                extern "C" __global__ void none() {}

                """
            let kernels = try CompilerFixture.compiler(cache: folder).compile(
                KernelRequest(KernelSource(path: "Test/Image.cu", text: text)), for: Architecture(architecture))
            #expect(KernelImage(kernels.cubin).parameterSizes == ["mixed": [128, 8, 4, 20, 1, 8], "none": []])
        }
    }
}
