// Makes the stub of Core ML return the package's golden, and checks that it gets the golden's inputs.

import CoreML
import Foundation

@testable import HydraNet

struct FakeError: LocalizedError, Equatable {
    let reason: String
    var errorDescription: String? { reason }
}

/// What the fake saw and should do. Tests run one after the other.
final class Fake: @unchecked Sendable {
    static let shared = Fake()
    private let lock = NSLock()
    private var state = State()

    struct State {
        /// Function or module name and units of every load and run, in order.
        var loads: [String] = []
        var runs: [String] = []
        var compiled = 0
        var running = 0
        var mostRunning = 0
        /// Units with which nothing loads, or runs.
        var refuseLoad: Set<MLComputeUnits> = []
        var refuseRun: Set<MLComputeUnits> = []
        var wrongShape = false
    }

    func reset() { with { $0 = State() } }
    @discardableResult
    func with<T>(_ body: (inout State) throws -> T) rethrows -> T {
        lock.lock()
        defer { lock.unlock() }
        return try body(&state)
    }

    static var golden: Golden {
        get throws { try Golden(folder: Bundle.module.resourceURL!.appendingPathComponent("Golden")) }
    }

    /// The module of a compiled package, and whether it was the package of all modules.
    static func name(_ path: String, _ function: String?) throws -> String {
        let source = try String(contentsOfFile: path + "/source", encoding: .utf8)
        let module = Manifest.net.modules.first { module in
            function == nil ? source.hasSuffix("/" + module.separate) : module.function == function
        }
        guard let module else { throw FakeError(reason: "no module in \(source)") }
        return module.name
    }

    static func install() {
        FakeCoreML.padding = 5
        FakeCoreML.compile = { _ in shared.with { $0.compiled += 1 } }
        FakeCoreML.load = { path, function, units in
            let name = try name(path, function)
            try shared.with {
                $0.loads.append("\(name) \(function ?? "-") \(units.rawValue)")
                if $0.refuseLoad.contains(units) { throw FakeError(reason: "no memory to load") }
            }
        }
        FakeCoreML.run = { path, function, units, inputs in
            let name = try name(path, function)
            try shared.with {
                $0.runs.append("\(name) \(units.rawValue)")
                if $0.refuseRun.contains(units) { throw FakeError(reason: "no memory to run") }
                $0.running += 1
                $0.mostRunning = max($0.mostRunning, $0.running)
            }
            defer { shared.with { $0.running -= 1 } }
            Thread.sleep(forTimeInterval: 0.002)
            return try outputs(Manifest.net.module(name)!, inputs)
        }
    }

    static func outputs(_ module: Module, _ inputs: MLFeatureProvider) throws -> [String: MLMultiArray] {
        let golden = try golden
        let entry = golden.entries[module.name]!
        guard inputs.featureNames == Set(module.inputs.map(\.fileName)) else {
            throw FakeError(reason: "inputs \(inputs.featureNames)")
        }
        for port in module.inputs {
            let value = inputs.featureValue(for: port.fileName)!
            let row = entry.inputs[port.fileName]!
            if let buffer = value.imageBufferValue {
                guard try bytes(buffer) == golden.bytes(row) else { throw FakeError(reason: "another picture came in") }
            } else {
                let values = try LoadedModule.tensor(value.multiArrayValue!, port, nil).values
                guard try golden.error(values, row, port) == 0 else { throw FakeError(reason: "another tensor came in") }
            }
        }
        var result: [String: MLMultiArray] = [:]
        for port in module.outputs {
            let row = entry.outputs[port.fileName]!
            var shape = port.shape
            if shared.with({ $0.wrongShape }) { shape.append(1) }
            let numbers = (shape.isEmpty ? [1] : shape).map { NSNumber(value: $0) }
            let type: MLMultiArrayDataType =
                row.dtype == .float16 ? .float16 : row.dtype == .int32 ? .int32 : .float32
            let array = try MLMultiArray(shape: numbers, dataType: type)
            let values = try golden.values(row, port)
            if shape == port.shape {
                try array.withUnsafeMutableBytes {
                    try port.of(row.dtype).pack(.floats(values), into: $0, strides: shape.isEmpty ? [] : $1)
                }
            }
            result[port.fileName] = array
        }
        return result
    }

    /// The picture in a buffer, as rows of red, green, blue.
    static func bytes(_ buffer: CVPixelBuffer) -> [UInt8] {
        let memory = UnsafeRawBufferPointer(
            start: buffer.fakeMemory, count: buffer.fakeBytesPerRow * buffer.fakeHeight)
        var result: [UInt8] = []
        for y in 0..<buffer.fakeHeight {
            for x in 0..<buffer.fakeWidth {
                let at = y * buffer.fakeBytesPerRow + x * 4
                result += [memory[at + 2], memory[at + 1], memory[at]]
            }
        }
        return result
    }
}
