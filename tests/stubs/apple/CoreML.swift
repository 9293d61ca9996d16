// Stub of Core ML: see README.md. `FakeCoreML` decides what compiling, loading and running do.

@_exported import CoreVideo

/// What the fake does. It is set before the code under test runs, and read by it alone.
public enum FakeCoreML {
    /// Runs the model of a compiled package: its path, the function's name, the units, the inputs.
    public typealias Run = @Sendable (String, String?, MLComputeUnits, MLFeatureProvider) throws -> [String: MLMultiArray]
    nonisolated(unsafe) public static var run: Run = { _, _, _, _ in [:] }
    nonisolated(unsafe) public static var load: @Sendable (String, String?, MLComputeUnits) throws -> Void = { _, _, _ in }
    nonisolated(unsafe) public static var compile: @Sendable (URL) throws -> Void = { _ in }
    /// Elements between two rows of a tensor that the fake makes, beyond the row itself.
    nonisolated(unsafe) public static var padding = 0
}

// documentation/coreml/mlcomputeunits
public enum MLComputeUnits: Int, Sendable {
    case cpuOnly = 0
    case cpuAndGPU = 1
    case all = 2
    case cpuAndNeuralEngine = 3
}

// documentation/coreml/mlmodelconfiguration
open class MLModelConfiguration: NSObject {
    // documentation/coreml/mlmodelconfiguration/computeunits
    open var computeUnits: MLComputeUnits = .all
    // documentation/coreml/mlmodelconfiguration/functionname
    @available(iOS 18.0, macOS 15.0, *)
    open var functionName: String? {
        get { name }
        set { name = newValue }
    }
    var name: String?
}

// documentation/coreml/mlmultiarraydatatype
public enum MLMultiArrayDataType: Int, Sendable {
    case double = 65600
    case float32 = 65568
    case float16 = 65552
    case int32 = 131104
    case int8 = 131080

    var bytes: Int { self == .double ? 8 : self == .float16 ? 2 : self == .int8 ? 1 : 4 }
}

// documentation/coreml/mlmultiarray
open class MLMultiArray: NSObject {
    // documentation/coreml/mlmultiarray/shape, strides, datatype, count
    public let shape: [NSNumber]
    public let strides: [NSNumber]
    public let dataType: MLMultiArrayDataType
    public var count: Int { shape.reduce(1) { $0 * $1.intValue } }
    let memory: UnsafeMutableRawPointer
    let bytes: Int

    // documentation/coreml/mlmultiarray/init(shape:datatype:)
    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {
        self.shape = shape
        self.dataType = dataType
        var steps = [Int](repeating: 1, count: shape.count)
        for axis in shape.indices.dropLast().reversed() {
            steps[axis] = steps[axis + 1] * shape[axis + 1].intValue
            if axis == shape.count - 2 { steps[axis] += FakeCoreML.padding }
        }
        strides = steps.map { NSNumber(value: $0) }
        bytes = max((steps.first ?? 1) * (shape.first?.intValue ?? 1), 1) * dataType.bytes
        memory = .allocate(byteCount: bytes, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0xAA, count: bytes)
    }

    deinit { memory.deallocate() }

    // documentation/coreml/mlmultiarray/subscript(_:)-2gqpn. The fake's tensors of the tests that use it are packed floats.
    public subscript(index: Int) -> NSNumber {
        get { NSNumber(value: memory.load(fromByteOffset: index * 4, as: Float.self)) }
        set { memory.storeBytes(of: newValue.floatValue, toByteOffset: index * 4, as: Float.self) }
    }

    // documentation/coreml/mlmultiarray/withunsafebytes(_:)
    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(start: memory, count: bytes))
    }

    // documentation/coreml/mlmultiarray/withunsafemutablebytes(_:)
    public func withUnsafeMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R) rethrows -> R {
        try body(UnsafeMutableRawBufferPointer(start: memory, count: bytes), strides.map(\.intValue))
    }
}

// documentation/coreml/mlfeaturevalue
open class MLFeatureValue: NSObject {
    // documentation/coreml/mlfeaturevalue/multiarrayvalue
    public let multiArrayValue: MLMultiArray?
    // documentation/coreml/mlfeaturevalue/imagebuffervalue
    public let imageBufferValue: CVPixelBuffer?

    // documentation/coreml/mlfeaturevalue/init(multiarray:)
    public init(multiArray value: MLMultiArray) { (multiArrayValue, imageBufferValue) = (value, nil) }
    // documentation/coreml/mlfeaturevalue/init(pixelbuffer:)
    public init(pixelBuffer value: CVPixelBuffer) { (multiArrayValue, imageBufferValue) = (nil, value) }
}

// documentation/coreml/mlfeatureprovider
public protocol MLFeatureProvider: AnyObject {
    // documentation/coreml/mlfeatureprovider/featurenames
    var featureNames: Set<String> { get }
    // documentation/coreml/mlfeatureprovider/featurevalue(for:)
    func featureValue(for featureName: String) -> MLFeatureValue?
}

// documentation/coreml/mldictionaryfeatureprovider
open class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    let values: [String: MLFeatureValue]
    // documentation/coreml/mldictionaryfeatureprovider/init(dictionary:)
    public init(dictionary: [String: Any]) throws {
        values = dictionary.compactMapValues { $0 as? MLFeatureValue }
    }
    public var featureNames: Set<String> { Set(values.keys) }
    public func featureValue(for featureName: String) -> MLFeatureValue? { values[featureName] }
}

// documentation/coreml/mlmodel
open class MLModel: NSObject {
    let path: String
    let configuration: MLModelConfiguration

    // documentation/coreml/mlmodel/init(contentsof:configuration:)
    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {
        guard FileManager.default.fileExists(atPath: url.path) else { throw CocoaError(.fileNoSuchFile) }
        try FakeCoreML.load(url.path, configuration.name, configuration.computeUnits)
        (path, self.configuration) = (url.path, configuration)
    }

    // documentation/coreml/mlmodel/compilemodel(at:)-6442s (iOS 16)
    public class func compileModel(at modelURL: URL) async throws -> URL {
        try FakeCoreML.compile(modelURL)
        let compiled = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString + ".mlmodelc")
        try FileManager.default.createDirectory(at: compiled, withIntermediateDirectories: true)
        try Data(modelURL.path.utf8).write(to: compiled.appendingPathComponent("source"))
        return compiled
    }

    // documentation/coreml/mlmodel/prediction(from:)
    public func prediction(from input: MLFeatureProvider) throws -> MLFeatureProvider {
        let outputs = try FakeCoreML.run(path, configuration.name, configuration.computeUnits, input)
        return try MLDictionaryFeatureProvider(dictionary: outputs.mapValues { MLFeatureValue(multiArray: $0) })
    }
}
