import XCTest

@testable import HydraNet

/// The net on this device, against the outputs of the PyTorch reference. The limits are wide: they tell a wrong layout or
/// a broken file from another chip's rounding.
final class GoldenTests: XCTestCase {
    private func golden() throws -> Golden {
        try Golden(folder: XCTUnwrap(Bundle.module.resourceURL).appendingPathComponent("Golden"))
    }

    /// Every module on the golden's own inputs.
    func testModules() async throws {
        let golden = try golden()
        let engine = try Engine(.net, HydraOptions())
        for module in Manifest.net.modules {
            let entry = try XCTUnwrap(golden.entries[module.name], module.name)
            var given: [String: Input] = [:]
            for port in module.inputs {
                given[port.name] = try golden.input(XCTUnwrap(entry.inputs[port.fileName]), port)
            }
            try await compare(try await engine.run(module.name, given: given), module, entry, golden)
        }
        let fallbacks = await engine.fallbacks
        XCTAssertEqual(fallbacks, [], "the CPU alone ran a module")
    }

    /// The modules one after the other, each on the features of those before it.
    func testChain() async throws {
        let golden = try golden()
        let engine = try Engine(.net, HydraOptions())
        var earlier: [ModuleOutputs] = []
        for module in Manifest.net.modules {
            let entry = try XCTUnwrap(golden.entries[module.name], module.name)
            let passed = Set(earlier.flatMap(\.features.keys))
            var given: [String: Input] = [:]
            for port in module.inputs where !passed.contains(port.name) {
                given[port.name] = try golden.input(XCTUnwrap(entry.inputs[port.fileName]), port)
            }
            let outputs = try await engine.run(module.name, reading: earlier, given: given)
            try await compare(outputs, module, entry, golden)
            earlier.append(outputs)
        }
    }

    func testClosed() async throws {
        let engine = try Engine(.net, HydraOptions())
        await engine.close()
        do {
            _ = try await engine.run(Manifest.net.modules[0].name)
            XCTFail("a closed net ran")
        } catch {
            XCTAssertEqual(error as? HydraError, .closed)
        }
    }

    private func compare(
        _ outputs: ModuleOutputs, _ module: Module, _ entry: Golden.Entry, _ golden: Golden
    ) async throws {
        for port in module.outputs {
            let row = try XCTUnwrap(entry.outputs[port.fileName], port.name)
            let values: [Float]
            if let tensor = outputs.tensors[port.name] {
                values = tensor.values
            } else {
                let array = try XCTUnwrap(outputs.features[port.name]?.value.multiArrayValue, port.name)
                values = try LoadedModule.tensor(array, port, nil).values
            }
            let error = try golden.error(values, row, port)
            let limit = try XCTUnwrap(row.mean_abs) / abs(port.scale)
            XCTAssertLessThanOrEqual(error, limit, "\(module.name): \(port.name)")
        }
    }
}
