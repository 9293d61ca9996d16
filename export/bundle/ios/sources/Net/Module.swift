import CoreML
import Foundation

/// One module of the net, as the model's files hold it.
struct Module: Sendable {
    let name: String
    /// The function in the package of all modules; nil for a net of one module.
    let function: String?
    /// The package of all modules, which iOS 18 and macOS 15 read; nil for a net of one module.
    let joint: String?
    /// The package of this module alone.
    let separate: String
    let inputs: [TensorPort]
    let outputs: [TensorPort]
    /// Outputs that other modules read, and outputs of the net.
    let features: [String]
    let results: [String]
}

/// What a package holds.
struct Manifest: Sendable {
    let package: String
    /// The sealed artifact's sha256.
    let artifact: String
    let modules: [Module]
    /// The sha256 of every file below Models/.
    let files: [String: String]

    func module(_ name: String) -> Module? { modules.first { $0.name == name } }
}

/// A tensor of the runtime's own, which nobody writes to after the run that made it.
struct Feature: @unchecked Sendable {
    let value: MLFeatureValue
}

/// What a caller gives for an input.
enum Input: Sendable {
    case photo(HydraPhoto)
    case elements(Elements)
    case feature(Feature)
}

/// What a run of a module returns.
struct ModuleOutputs: Sendable {
    let features: [String: Feature]
    let tensors: [String: HydraTensor]
    /// The size of the upright photo that the outputs belong to.
    let photo: HydraSize?

    func tensor(_ name: String) throws -> HydraTensor {
        guard let tensor = tensors[name] else { throw HydraError.unexpectedOutput("there is no output \(name)") }
        return tensor
    }

    /// Return an output of one channel as a map.
    func map(_ name: String, width: Int, height: Int) throws -> HydraMap {
        let tensor = try tensor(name)
        guard tensor.values.count == width * height else {
            throw HydraError.unexpectedOutput("\(name) has \(tensor.values.count) elements")
        }
        return HydraMap(
            values: tensor.values, width: width, height: height, range: tensor.range, photo: tensor.photo)
    }
}
