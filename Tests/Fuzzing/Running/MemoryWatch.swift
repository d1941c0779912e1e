import Foundation

/// The process's resident memory, from Linux's own books; elsewhere, and where they are closed, nothing is watched.
struct MemoryWatch {
    /// Growth that is never held against a reader: the allocator's own, and what a first run loads. The address sanitiser keeps freed memory back,
    /// so its share is set low by the supervisor and covered here.
    static let allowance = 48 << 20

    /// Inputs of this size and more are watched one by one, smaller ones in batches.
    static let largeByteCount = 1 << 14

    static let batchCount = 4096

    private var baseline = 0

    /// Takes the memory of this moment as what growth is counted from.
    mutating func start() {
        guard let file = FileHandle(forWritingAtPath: "/proc/self/clear_refs") else { return }
        // "5" sets the high-water mark back to what is resident now.
        try? file.write(contentsOf: Data("5".utf8))
        try? file.close()
        baseline = Self.statusValue("VmRSS:") ?? 0
    }

    /// Bytes by which resident memory exceeded its start at the highest.
    func growth() -> Int {
        guard baseline > 0, let peak = Self.statusValue("VmHWM:") else { return 0 }
        return max(0, peak - baseline)
    }

    private static func statusValue(_ key: String) -> Int? {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix(key) }),
            let kilobytes = line.split(whereSeparator: { $0 == "\t" || $0 == " " }).dropFirst().first.flatMap({ Int($0) })
        else { return nil }
        return kilobytes << 10
    }
}
