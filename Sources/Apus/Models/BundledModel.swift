import CBundledModels
import Foundation
package import ModelHub

/// The demonstration models that are part of the program: small enough to carry, trained on one play-wright.
public enum BundledModel: String, Sendable, CaseIterable {
    /// A Qwen3-shaped text model.
    case text = "apus-shakespeare-3m"
    /// A Gemma3-shaped embedding model.
    case embedding = "apus-shakespeare-embedding-2m"

    /// The name under which commands and ``Generator`` or ``Embedder`` find it.
    public var name: String { rawValue }

    /// Its files, where they lie in the program.
    package var folder: ModelFolder {
        var files: [String: Data] = [:]
        for index in 0..<apus_bundled_file_count {
            guard let file = apus_bundled_file_at(index)?.pointee, String(cString: file.model) == name else { continue }
            // Safe without a copy: the bytes are constants of the program and nobody writes to a Data over them.
            guard let bytes = UnsafeMutableRawPointer(mutating: UnsafeRawPointer(file.bytes)) else { continue }
            files[String(cString: file.file)] = Data(bytesNoCopy: bytes, count: file.byte_count, deallocator: .none)
        }
        return ModelFolder(files: files, name: name)
    }
}
