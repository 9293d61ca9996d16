import CoreML
import Foundation

/// Loads modules when they are first needed, and runs them one at a time off the callers' threads.
actor Engine {
    let manifest: Manifest
    let options: HydraOptions
    private(set) var fallbacks: [HydraFallback] = []
    private let files: ModelFiles
    private let worker: Worker
    private var loading: [String: Task<LoadedModule, any Error>] = [:]
    private var closed = false

    init(_ manifest: Manifest, _ options: HydraOptions) throws {
        self.manifest = manifest
        self.options = options
        files = try ModelFiles(manifest, options)
        worker = Worker(label: manifest.package)
    }

    /// Load modules by name.
    func load(_ names: [String]) async throws {
        for name in names {
            if let module = manifest.module(name) { _ = try await loaded(module) }
        }
    }

    /// Run a module. Inputs that are not in `given` are features of the runs in `reading`.
    func run(
        _ name: String, reading: [ModuleOutputs] = [], given: [String: Input] = [:]
    ) async throws -> ModuleOutputs {
        guard !closed else { throw HydraError.closed }
        try Task.checkCancellation()
        guard let module = manifest.module(name) else { throw HydraError.unexpectedOutput("there is no module \(name)") }
        var inputs = given
        for outputs in reading {
            for (name, feature) in outputs.features where inputs[name] == nil { inputs[name] = .feature(feature) }
        }
        let photo = reading.lazy.compactMap(\.photo).first
        let first = try await loaded(module)
        do {
            return try await run(first, inputs, photo)
        } catch let error as HydraError {
            throw error
        } catch {
            guard first.units != .cpuOnly else { throw Self.failure(module, error) }
            let slower = try await fallBack(module, after: error)
            do {
                return try await run(slower, inputs, photo)
            } catch let error as HydraError {
                throw error
            } catch {
                throw Self.failure(module, error)
            }
        }
    }

    /// Release all modules. Runs that have begun end as usual; later ones throw `HydraError.closed`.
    func close() {
        closed = true
        loading.removeAll()
    }

    private func run(
        _ loaded: LoadedModule, _ inputs: [String: Input], _ photo: HydraSize?
    ) async throws -> ModuleOutputs {
        let options = self.options
        return try await worker.run { try loaded.run(inputs, photo: photo, options: options) }
    }

    private static func failure(_ module: Module, _ error: any Error) -> HydraError {
        .predictionFailed(module: module.name, reason: error.localizedDescription)
    }

    /// Return the module in memory. Two callers at once load it once.
    private func loaded(_ module: Module) async throws -> LoadedModule {
        guard !closed else { throw HydraError.closed }
        if let task = loading[module.name] { return try await task.value }
        return try await start(module, options.computeUnits)
    }

    private func start(_ module: Module, _ units: MLComputeUnits) async throws -> LoadedModule {
        let task = Task { try await self.read(module, units) }
        loading[module.name] = task
        do {
            return try await task.value
        } catch {
            // The next caller tries again.
            if loading[module.name] == task { loading[module.name] = nil }
            throw error
        }
    }

    /// Read the module from disk for `units`, or else for the CPU alone.
    private func read(_ module: Module, _ units: MLComputeUnits) async throws -> LoadedModule {
        do {
            return try await open(module, units)
        } catch let error as HydraError {
            throw error
        } catch {
            guard units != .cpuOnly else {
                throw HydraError.loadFailed(module: module.name, reason: error.localizedDescription)
            }
            tell(HydraFallback(module: module.name, reason: error.localizedDescription))
            return try await read(module, .cpuOnly)
        }
    }

    private func open(_ module: Module, _ units: MLComputeUnits) async throws -> LoadedModule {
        let (package, function) = place(module)
        let compiled = try await files.compiled(package)
        do {
            return try await worker.run {
                try LoadedModule(module, compiled: compiled, function: function, units: units)
            }
        } catch {
            // A compiled package of another version of the system: compile it anew, once.
            try files.forget(package)
            let again = try await files.compiled(package)
            return try await worker.run {
                try LoadedModule(module, compiled: again, function: function, units: units)
            }
        }
    }

    /// The package of all modules where the system reads it and the app kept it, else the module's own.
    private func place(_ module: Module) -> (package: String, function: String?) {
        if #available(iOS 18.0, macOS 15.0, *), let joint = module.joint, let function = module.function,
            FileManager.default.fileExists(atPath: files.folder.appendingPathComponent(joint).path)
                || !FileManager.default.fileExists(atPath: files.folder.appendingPathComponent(module.separate).path)
        {
            return (joint, function)
        }
        return (module.separate, nil)
    }

    private func fallBack(_ module: Module, after error: any Error) async throws -> LoadedModule {
        tell(HydraFallback(module: module.name, reason: error.localizedDescription))
        return try await start(module, .cpuOnly)
    }

    private func tell(_ fallback: HydraFallback) {
        fallbacks.append(fallback)
        options.onFallback?(fallback)
    }
}

/// A queue of its own: Core ML's calls block, and must not block the threads that all tasks share.
struct Worker: Sendable {
    private let queue: DispatchQueue

    init(label: String) { queue = DispatchQueue(label: label, qos: .userInitiated) }

    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result(catching: body)) }
        }
    }
}
