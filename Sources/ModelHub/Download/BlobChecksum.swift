#if Hub
    import Crypto
    import Foundation

    /// Checks a fetched file against its ETag, which on the hub is a hash of the content.
    enum BlobChecksum {
        /// True when the file at `path` has the hash that `etag` states: sha256 for 64 hexadecimal digits, git's blob hash for 40. Another form of tag states
        /// none and passes. Reads the file once, one megabyte at a time.
        static func matches(_ path: String, etag: String) async throws -> Bool {
            let expected = etag.lowercased()
            guard expected.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else { return true }
            switch expected.utf8.count {
            case 64: return try await digest(SHA256(), of: path) == expected
            case 40:
                var hash = Insecure.SHA1()
                let size = ModelFolder.regularFileSize(path) ?? 0
                hash.update(data: Array("blob \(size)\0".utf8))
                return try await digest(hash, of: path) == expected
            default: return true
            }
        }

        private static func digest(_ hash: some HashFunction, of path: String) async throws -> String {
            var hash = hash
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? file.close() }
            while let chunk = try file.read(upToCount: 1 << 20), !chunk.isEmpty {
                hash.update(data: chunk)
                try Task.checkCancellation()
                await Task.yield()
            }
            return hash.finalize().map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }.joined()
        }
    }
#endif
