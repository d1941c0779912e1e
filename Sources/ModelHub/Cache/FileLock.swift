import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// An advisory lock on a file, between processes and between tasks of one process: the same `flock` that huggingface_hub's `filelock` takes, so
/// that both keep out of each other's way. It falls when the value goes away or the process ends, however it ends.
struct FileLock: ~Copyable {
    private let descriptor: Int32

    /// Waits until the lock at `path`, whose folder must exist, is free. Throws `CancellationError` when the task is cancelled meanwhile.
    init(waitingFor path: String) async throws {
        while true {
            if let descriptor = try Self.tryLock(path) {
                self.descriptor = descriptor
                return
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    deinit { _ = close(descriptor) }

    /// The locked descriptor, or nil while someone else holds it.
    private static func tryLock(_ path: String) throws(ModelHubError) -> Int32? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o664)
        guard descriptor >= 0 else { throw failure(path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            if code == EWOULDBLOCK || code == EINTR { return nil }
            throw failure(path, code)
        }
        // filelock removes its file when it lets go: a lock on a name that now leads elsewhere locks nothing.
        var held = stat()
        var named = stat()
        guard fstat(descriptor, &held) == 0, stat(path, &named) == 0, held.st_ino == named.st_ino, held.st_dev == named.st_dev else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    private static func failure(_ path: String, _ code: Int32 = errno) -> ModelHubError {
        ModelHubError(
            .cache, "cannot lock \(path): \(String(cString: strerror(code))); HF_HUB_CACHE can name another folder for the model cache")
    }
}
