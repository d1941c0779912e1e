import Synchronization

/// How far a download is, over all its files.
public struct DownloadProgress: Sendable, Equatable {
    /// The file that has just moved on.
    public let file: String
    /// Bytes that are on disk, those of earlier attempts included.
    public let completedByteCount: Int
    /// Bytes of all files together; nil while a file's size is not known.
    public let totalByteCount: Int?
    public let completedFileCount: Int
    public let fileCount: Int
}

/// Adds up the progress of files that are fetched side by side, and calls back at most ten times a second and at every file's end.
final class DownloadProgressCounter: Sendable {
    private struct State {
        var byteCounts: [String: Int] = [:]
        var completedFileCount = 0
        var lastReport: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let totalByteCount: Int?
    private let fileCount: Int
    private let callback: (@Sendable (DownloadProgress) -> Void)?

    init(totalByteCount: Int?, fileCount: Int, callback: (@Sendable (DownloadProgress) -> Void)?) {
        self.totalByteCount = totalByteCount
        self.fileCount = fileCount
        self.callback = callback
    }

    func update(_ file: String, byteCount: Int, isComplete: Bool = false) {
        guard let callback else { return }
        let progress = state.withLock { state -> DownloadProgress? in
            state.byteCounts[file] = byteCount
            if isComplete { state.completedFileCount += 1 }
            let now = ContinuousClock.now
            if !isComplete, let last = state.lastReport, now - last < .milliseconds(100) { return nil }
            state.lastReport = now
            let completed = state.byteCounts.values.reduce(0) { $0.addingReportingOverflow($1).partialValue }
            return DownloadProgress(
                file: file, completedByteCount: completed, totalByteCount: totalByteCount, completedFileCount: state.completedFileCount,
                fileCount: fileCount)
        }
        if let progress { callback(progress) }
    }
}
