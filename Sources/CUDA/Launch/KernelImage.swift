/// What an image of machine code says about its kernels' parameters.
///
/// The image is a 64-bit ELF file. For each kernel NAME it has a section `.nv.info.NAME` of records: a form and a kind of one byte each, then a value
/// of two bytes, which for the form 4 is the length of a payload that follows. The kind 0x17 describes one parameter in 12 bytes: an index,
/// its position (2 bytes), its offset (2 bytes) and a word whose upper 14 bits are its size. The driver answers the same question only from 12.4 on,
/// and only by refusing one index too many.
package struct KernelImage: Sendable {
    /// The bytes of each parameter, by kernel. A kernel that is not here is one that the image says nothing about.
    package let parameterSizes: [String: [Int]]

    package init(_ image: [UInt8]) {
        var sizes: [String: [Int]] = [:]
        let reader = ImageReader(image)
        for section in reader.sections() {
            let prefix = ".nv.info."
            guard let name = reader.name(of: section), name.hasPrefix(prefix) else { continue }
            if let parameters = Self.parameters(reader, section) { sizes[String(name.dropFirst(prefix.count))] = parameters }
        }
        parameterSizes = sizes
    }

    private static func parameters(_ reader: ImageReader, _ section: ImageReader.Section) -> [Int]? {
        var sizes: [Int: Int] = [:]
        var offset = section.offset
        let end = section.offset + section.byteCount
        while offset + 4 <= end {
            guard let form = reader.integer(at: offset, byteCount: 1), let kind = reader.integer(at: offset + 1, byteCount: 1),
                let value = reader.integer(at: offset + 2, byteCount: 2)
            else { return nil }
            if form == 4, kind == 0x17 {
                guard value == 12, let position = reader.integer(at: offset + 8, byteCount: 2),
                    let word = reader.integer(at: offset + 12, byteCount: 4)
                else { return nil }
                sizes[position] = word >> 18
            }
            offset += form == 4 ? 4 + value : 4
        }
        // Positions count from 0 without a gap; anything else is a form that is not known here.
        let list = (0..<sizes.count).compactMap { sizes[$0] }
        return list.count == sizes.count ? list : nil
    }
}

/// Reads the headers of a 64-bit, little-endian ELF file. Nothing it is given makes it read outside.
private struct ImageReader {
    struct Section {
        let nameOffset: Int
        let offset: Int
        let byteCount: Int
    }

    private let bytes: [UInt8]
    private var nameTable: Section?

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        nameTable = nil
        if let index = integer(at: 62, byteCount: 2) { nameTable = section(index) }
    }

    /// An unsigned number of up to 8 bytes; nil outside the file or beyond what fits.
    func integer(at offset: Int, byteCount: Int) -> Int? {
        guard offset >= 0, offset <= bytes.count - byteCount else { return nil }
        var value: UInt64 = 0
        for index in (0..<byteCount).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
        return Int(exactly: value)
    }

    func sections() -> [Section] {
        guard let count = integer(at: 60, byteCount: 2) else { return [] }
        return (0..<count).compactMap { section($0) }
    }

    private func section(_ index: Int) -> Section? {
        guard let table = integer(at: 40, byteCount: 8), let size = integer(at: 58, byteCount: 2), size >= 64 else { return nil }
        let start = table.addingReportingOverflow(index * size)
        guard !start.overflow, start.partialValue <= bytes.count - 64 else { return nil }
        let header = start.partialValue
        guard let name = integer(at: header, byteCount: 4), let offset = integer(at: header + 24, byteCount: 8),
            let byteCount = integer(at: header + 32, byteCount: 8), offset <= bytes.count, byteCount <= bytes.count - offset
        else { return nil }
        return Section(nameOffset: name, offset: offset, byteCount: byteCount)
    }

    func name(of section: Section) -> String? {
        guard let table = nameTable, section.nameOffset < table.byteCount else { return nil }
        let name = bytes[(table.offset + section.nameOffset)..<(table.offset + table.byteCount)].prefix { $0 != 0 }
        return String(decoding: name, as: UTF8.self)
    }
}
