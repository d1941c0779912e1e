import Foundation

/// What the operating system says of this process's memory.
public enum ProcessMemory {
    /// Most bytes that were resident at once, mapped files included; nil where the system does not say.
    public static var peakByteCount: Int? { field("VmHWM:") }

    /// Bytes resident now.
    public static var residentByteCount: Int? { field("VmRSS:") }

    private static func field(_ name: String) -> Int? {
        guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
        for line in status.split(separator: "\n") where line.hasPrefix(name) {
            guard let kibibytes = line.split(whereSeparator: { !$0.isNumber }).first.flatMap({ Int($0) }) else { return nil }
            return kibibytes * 1024
        }
        return nil
    }
}
