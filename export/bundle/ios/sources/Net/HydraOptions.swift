import CoreML
import Foundation

/// How a net is loaded and fed.
public struct HydraOptions: Sendable {
    /// How a photo becomes the model's size.
    public enum Resize: Sendable {
        /// The model's own preprocessing, in plain Swift: the same bytes as in Python.
        case contract
        /// Core Image on the GPU, for camera frames: Lanczos, which differs from the contract's bilinear filter a little.
        case coreImage
    }

    /// Which processors may run the model. An app in the background must not use the GPU: `.cpuAndNeuralEngine`.
    public var computeUnits: MLComputeUnits
    public var resize: Resize
    /// A larger photo is refused. A photo needs four bytes per pixel while it is resized.
    public var maximumPixels: Int
    /// The folder of the model's files, if they are not in this package's bundle.
    public var models: URL?
    /// Called when a module could not be loaded or run on `computeUnits`, and the CPU alone does it from now on.
    public var onFallback: (@Sendable (HydraFallback) -> Void)?

    public init(
        computeUnits: MLComputeUnits = .all, resize: Resize = .contract, maximumPixels: Int = 100_000_000,
        models: URL? = nil, onFallback: (@Sendable (HydraFallback) -> Void)? = nil
    ) {
        self.computeUnits = computeUnits
        self.resize = resize
        self.maximumPixels = maximumPixels
        self.models = models
        self.onFallback = onFallback
    }
}

/// A module that the CPU alone runs, since the processors of `HydraOptions.computeUnits` failed.
public struct HydraFallback: Sendable, Equatable {
    public let module: String
    public let reason: String
}

/// A value that several threads only read.
struct Shared<Value>: @unchecked Sendable {
    let value: Value

    init(_ value: Value) { self.value = value }
}
