import CoreML
import CoreVideo
import Foundation

/// A module in memory.
final class LoadedModule: @unchecked Sendable {
    // Unchecked: a model is used on the engine's queue alone, one run at a time.
    let module: Module
    let units: MLComputeUnits
    private let model: MLModel

    /// Load a compiled package. `function` names the module in a package of several. Takes long: not for an actor.
    init(_ module: Module, compiled: URL, function: String?, units: MLComputeUnits) throws {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        if #available(iOS 18.0, macOS 15.0, *), let function {
            configuration.functionName = function
        }
        self.module = module
        self.units = units
        model = try MLModel(contentsOf: compiled, configuration: configuration)
    }

    /// Run the module once. Throws Core ML's error where the run fails.
    func run(_ inputs: [String: Input], photo: HydraSize?, options: HydraOptions) throws -> ModuleOutputs {
        var values: [String: MLFeatureValue] = [:]
        var photo = photo
        for port in module.inputs {
            switch inputs[port.name] {
            case .feature(let feature)?:
                values[port.fileName] = feature.value
            case .elements(let elements)?:
                values[port.fileName] = MLFeatureValue(multiArray: try Self.array(elements, port))
            case .photo(let picture)?:
                // The file's shape of a photo is [1, height, width, 3].
                let (buffer, size) = try picture.pixelBuffer(
                    width: port.shape[2], height: port.shape[1], options: options)
                values[port.fileName] = MLFeatureValue(pixelBuffer: buffer)
                photo = photo ?? size
            case nil:
                throw HydraError.wrongCount(input: port.name, expected: port.count, given: 0)
            }
        }
        let result = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: values))
        var features: [String: Feature] = [:]
        var tensors: [String: HydraTensor] = [:]
        for port in module.outputs {
            guard let value = result.featureValue(for: port.fileName), let array = value.multiArrayValue else {
                throw HydraError.unexpectedOutput("\(module.name) has no tensor \(port.fileName)")
            }
            if module.features.contains(port.name) { features[port.name] = Feature(value: value) }
            if module.results.contains(port.name) { tensors[port.name] = try Self.tensor(array, port, photo) }
        }
        return ModuleOutputs(features: features, tensors: tensors, photo: photo)
    }

    /// Return the caller's elements as Core ML's tensor.
    static func array(_ elements: Elements, _ port: TensorPort) throws -> MLMultiArray {
        try port.check(elements)
        let shape = port.shape.isEmpty ? [1] : port.shape
        let array = try MLMultiArray(shape: shape.map { NSNumber(value: $0) }, dataType: try dataType(port.type))
        try array.withUnsafeMutableBytes { bytes, strides in
            try port.pack(elements, into: bytes, strides: port.shape.isEmpty ? [] : strides)
        }
        return array
    }

    /// Return Core ML's tensor as the reference's values.
    static func tensor(_ array: MLMultiArray, _ port: TensorPort, _ photo: HydraSize?) throws -> HydraTensor {
        let shape = array.shape.map(\.intValue)
        guard shape == port.shape || (port.shape.isEmpty && shape == [1]) else {
            throw HydraError.unexpectedOutput("\(port.name) has shape \(shape), the file declares \(port.shape)")
        }
        guard let type = elementType(array.dataType) else {
            throw HydraError.unexpectedOutput("\(port.name) has a type that this code does not know")
        }
        let strides = port.shape.isEmpty ? [] : array.strides.map(\.intValue)
        let values = try array.withUnsafeBytes { try port.of(type).unpack($0, strides: strides) }
        return HydraTensor(values: values, shape: port.referenceShape, range: port.range, photo: photo)
    }

    private static func dataType(_ type: ElementType) throws -> MLMultiArrayDataType {
        switch type {
        case .float16: return .float16
        case .float32: return .float32
        case .float64: return .double
        case .int32: return .int32
        case .int8, .uint8: throw HydraError.unexpectedOutput("Core ML has no tensors of \(type.rawValue)")
        }
    }

    private static func elementType(_ type: MLMultiArrayDataType) -> ElementType? {
        switch type {
        case .float16: return .float16
        case .float32: return .float32
        case .double: return .float64
        case .int32: return .int32
        default: return nil
        }
    }
}
