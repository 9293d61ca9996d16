// What the package does when something goes wrong, against the stub of Core ML.

import CoreImage
import CoreML
import XCTest

@testable import HydraNet

final class EngineTests: XCTestCase {
    private let first = Manifest.net.modules[0]

    override func setUp() {
        super.setUp()
        Fake.shared.reset()
    }

    private func given(_ module: Module) throws -> [String: Input] {
        let golden = try Fake.golden
        let entry = golden.entries[module.name]!
        return try Dictionary(uniqueKeysWithValues: module.inputs.map { port in
            (port.name, try golden.input(entry.inputs[port.fileName]!, port))
        })
    }

    private func expect(
        _ expected: HydraError, _ body: () async throws -> Void, line: UInt = #line
    ) async {
        do {
            try await body()
            XCTFail("nothing was thrown", line: line)
        } catch {
            XCTAssertEqual(error as? HydraError, expected, "\(error)", line: line)
        }
    }

    /// A copy of the model's files under another version, so that nothing compiled is found in the caches.
    private func copy(_ manifest: Manifest = .net) throws -> (Manifest, HydraOptions) {
        let target = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.copyItem(at: ModelFiles(.net, HydraOptions()).folder, to: target)
        let fresh = Manifest(
            package: manifest.package, artifact: UUID().uuidString, modules: manifest.modules, files: manifest.files)
        return (fresh, HydraOptions(models: target))
    }

    func testCompilesOnceAndLoadsOnce() async throws {
        let (manifest, options) = try copy()
        for _ in 0..<2 {
            let engine = try Engine(manifest, options)
            try await engine.load(manifest.modules.map(\.name))
        }
        let packages = Set(manifest.modules.map { $0.joint ?? $0.separate })
        Fake.shared.with {
            XCTAssertEqual($0.compiled, packages.count)
            XCTAssertEqual($0.loads.count, 2 * manifest.modules.count)
        }
    }

    func testSeparatePackagesWhereTheJointOneIsAbsent() async throws {
        guard let joint = first.joint else { return }
        let (manifest, options) = try copy()
        try FileManager.default.removeItem(at: options.models!.appendingPathComponent(joint))
        let engine = try Engine(manifest, options)
        _ = try await engine.run(first.name, given: given(first))
        Fake.shared.with { XCTAssertEqual($0.loads, ["\(self.first.name) - 2"]) }
    }

    func testTwoCallsAtOnceLoadOnceAndRunOneAfterTheOther() async throws {
        let engine = try Engine(.net, HydraOptions())
        let (name, inputs) = (first.name, try given(first))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { _ = try await engine.run(name, given: inputs) } }
            try await group.waitForAll()
        }
        Fake.shared.with {
            XCTAssertEqual($0.loads.count, 1)
            XCTAssertEqual($0.runs.count, 8)
            XCTAssertEqual($0.mostRunning, 1)
        }
    }

    func testMissingFile() async throws {
        let (manifest, options) = try copy()
        let path = manifest.files.keys.sorted().first { $0.hasPrefix((first.joint ?? first.separate) + "/") }!
        try FileManager.default.removeItem(at: options.models!.appendingPathComponent(path))
        await expect(.missingFile(path)) { try await Engine(manifest, options).load([self.first.name]) }
    }

    func testCorruptFile() async throws {
        let (manifest, options) = try copy()
        let path = manifest.files.keys.sorted().last { $0.hasPrefix((first.joint ?? first.separate) + "/") }!
        let url = options.models!.appendingPathComponent(path)
        var data = try Data(contentsOf: url)
        data[data.count / 2] ^= 1
        try data.write(to: url)
        await expect(.corruptFile(path)) { try await Engine(manifest, options).load([self.first.name]) }
        Fake.shared.with { XCTAssertEqual($0.compiled, 0) }
    }

    func testACompiledPackageThatDoesNotLoadIsCompiledAnew() async throws {
        let (manifest, options) = try copy()
        try await Engine(manifest, options).load([first.name])
        Fake.shared.with {
            $0.compiled = 0
            $0.refuseLoad = [.all, .cpuOnly]
        }
        await expect(.loadFailed(module: first.name, reason: "no memory to load")) {
            try await Engine(manifest, options).load([self.first.name])
        }
        Fake.shared.with { XCTAssertEqual($0.compiled, 2) }
    }

    func testFallsBackToTheCPUWhenLoading() async throws {
        Fake.shared.with { $0.refuseLoad = [.all] }
        let told = Told()
        let engine = try Engine(.net, HydraOptions(onFallback: { told.add($0) }))
        _ = try await engine.run(first.name, given: given(first))
        let fallbacks = await engine.fallbacks
        XCTAssertEqual(fallbacks, [HydraFallback(module: first.name, reason: "no memory to load")])
        XCTAssertEqual(told.all, fallbacks)
        Fake.shared.with { XCTAssertEqual($0.runs, ["\(self.first.name) 0"]) }
    }

    func testFallsBackToTheCPUWhenRunning() async throws {
        Fake.shared.with { $0.refuseRun = [.all] }
        let engine = try Engine(.net, HydraOptions())
        for _ in 0..<2 { _ = try await engine.run(first.name, given: given(first)) }
        let fallbacks = await engine.fallbacks
        XCTAssertEqual(fallbacks, [HydraFallback(module: first.name, reason: "no memory to run")])
        Fake.shared.with { XCTAssertEqual($0.runs, ["\(self.first.name) 2", "\(self.first.name) 0", "\(self.first.name) 0"]) }
    }

    func testNothingRuns() async throws {
        Fake.shared.with { $0.refuseRun = [.all, .cpuOnly] }
        let engine = try Engine(.net, HydraOptions())
        await expect(.predictionFailed(module: first.name, reason: "no memory to run")) {
            _ = try await engine.run(self.first.name, given: try self.given(self.first))
        }
    }

    func testAnotherShapeThanTheFileDeclares() async throws {
        Fake.shared.with { $0.wrongShape = true }
        let engine = try Engine(.net, HydraOptions())
        let module = Manifest.net.modules.first { !$0.results.isEmpty }!
        do {
            _ = try await engine.run(module.name, given: given(module))
            XCTFail("nothing was thrown")
        } catch HydraError.unexpectedOutput {}
    }

    func testCancelled() async throws {
        let engine = try Engine(.net, HydraOptions())
        let name = first.name
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            _ = try await engine.run(name)
        }
        task.cancel()
        do {
            try await task.value
            XCTFail("nothing was thrown")
        } catch is CancellationError {}
    }

    func testCloseWhileRunning() async throws {
        let engine = try Engine(.net, HydraOptions())
        let (name, inputs) = (first.name, try given(first))
        let task = Task { try await engine.run(name, given: inputs) }
        while Fake.shared.with({ $0.runs.isEmpty }) { await Task.yield() }
        await engine.close()
        _ = try await task.value
        await expect(.closed) { _ = try await engine.run(name, given: inputs) }
    }

    func testElementsAreChecked() async throws {
        let port = TensorPort("ids", file: "ids", shape: [1, 3], type: .int32, range: 0...9)
        XCTAssertThrowsError(try port.check(.integers([1, 2]))) {
            XCTAssertEqual($0 as? HydraError, .wrongCount(input: "ids", expected: 3, given: 2))
        }
        XCTAssertThrowsError(try port.check(.integers([1, 2, 10]))) {
            XCTAssertEqual($0 as? HydraError, .outOfRange(input: "ids", value: 10, range: 0...9))
        }
        let array = try LoadedModule.array(.integers([7, 8, 9]), port)
        XCTAssertEqual(try LoadedModule.tensor(array, port, nil).values, [7, 8, 9])
    }
}

final class Told: @unchecked Sendable {
    private let lock = NSLock()
    private var fallbacks: [HydraFallback] = []

    var all: [HydraFallback] { lock.withLock { fallbacks } }
    func add(_ fallback: HydraFallback) { lock.withLock { fallbacks.append(fallback) } }
}
