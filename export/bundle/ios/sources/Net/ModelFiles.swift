import CoreML
import CryptoKit
import Foundation

/// The model's files: checked against their hashes, compiled once per version, and kept in the caches folder.
struct ModelFiles: Sendable {
    let manifest: Manifest
    let folder: URL

    init(_ manifest: Manifest, _ options: HydraOptions) throws {
        self.manifest = manifest
        guard let folder = options.models ?? Bundle.module.resourceURL?.appendingPathComponent("Models") else {
            throw HydraError.missingFile("Models")
        }
        self.folder = folder
    }

    /// Return the compiled package, from the caches where an earlier start of the app left it.
    func compiled(_ package: String) async throws -> URL {
        let target = try cached(package)
        if FileManager.default.fileExists(atPath: target.path) { return target }
        try check(package)
        let compiled: URL
        do {
            compiled = try await MLModel.compileModel(at: folder.appendingPathComponent(package))
        } catch {
            throw HydraError.loadFailed(module: package, reason: error.localizedDescription)
        }
        return keep(compiled, at: target)
    }

    /// Remove the compiled package: another version of the system may have left it unreadable.
    func forget(_ package: String) throws {
        try? FileManager.default.removeItem(at: cached(package))
    }

    /// Throw where a file of the package is missing or is not the file that was proven.
    func check(_ package: String) throws {
        for (path, expected) in manifest.files.sorted(by: { $0.key < $1.key }) where path.hasPrefix(package + "/") {
            let url = folder.appendingPathComponent(path)
            guard FileManager.default.fileExists(atPath: url.path) else { throw HydraError.missingFile(path) }
            let data: Data
            do {
                data = try Data(contentsOf: url, options: .mappedIfSafe)
            } catch {
                throw HydraError.missingFile(path)
            }
            let actual = SHA256.hash(data: data).map { Self.hex($0) }.joined()
            guard actual == expected else { throw HydraError.corruptFile(path) }
        }
    }

    private static func hex(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16)
        return digits.count < 2 ? "0" + digits : digits
    }

    private func cached(_ package: String) throws -> URL {
        let caches = try FileManager.default.url(
            for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let name = package.replacingOccurrences(of: "/", with: "-").replacingOccurrences(of: ".mlpackage", with: "")
        return caches
            .appendingPathComponent(manifest.package)
            .appendingPathComponent(String(manifest.artifact.prefix(16)))
            .appendingPathComponent(name + ".mlmodelc")
    }

    /// Move the compiled package into the caches. Where that fails, it is used from where Core ML left it.
    private func keep(_ compiled: URL, at target: URL) -> URL {
        let files = FileManager.default
        do {
            try files.createDirectory(at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
            try files.moveItem(at: compiled, to: target)
            return target
        } catch {
            // Another instance of the net was faster, or the disk is full.
            return files.fileExists(atPath: target.path) ? target : compiled
        }
    }
}
