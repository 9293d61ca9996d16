import Foundation

/// What can go wrong, one case per cause. `errorDescription` is a sentence for a log.
public enum HydraError: Error, Equatable, Sendable {
    /// The package lacks a file of the model.
    case missingFile(String)
    /// A file of the model is not the file that was proven: its sha256 differs.
    case corruptFile(String)
    /// Core ML could not compile or load a module on any compute unit.
    case loadFailed(module: String, reason: String)
    /// Core ML could not run a module on any compute unit.
    case predictionFailed(module: String, reason: String)
    /// A module returned no such output, or one of another shape or type than the file declares.
    case unexpectedOutput(String)
    /// The data is no photo, or a damaged one.
    case unreadablePhoto(String)
    /// The photo has more pixels than the limit, which `HydraOptions.maximumPixels` holds.
    case photoTooLarge(width: Int, height: Int, limit: Int)
    /// A pixel buffer of the model's size could not be made. The code is Core Video's.
    case pixelBuffer(code: Int32)
    /// An input has another number of elements than the model takes.
    case wrongCount(input: String, expected: Int, given: Int)
    /// An element of an index input lies outside the range that the model knows.
    case outOfRange(input: String, value: Int, range: ClosedRange<Int>)
    /// A picture of this size cannot be made.
    case invalidSize(width: Int, height: Int)
    /// The net was closed.
    case closed
}

extension HydraError: LocalizedError {
    public var errorDescription: String? {
        switch self {
        case .missingFile(let path):
            return "The package has no file \(path): add the whole package to the app."
        case .corruptFile(let path):
            return "\(path) is not the file that was proven (its sha256 differs): generate the package again."
        case .loadFailed(let module, let reason):
            return "Core ML cannot load the module \(module): \(reason)"
        case .predictionFailed(let module, let reason):
            return "Core ML cannot run the module \(module): \(reason)"
        case .unexpectedOutput(let reason):
            return "The model's file and this code do not fit together: \(reason)"
        case .unreadablePhoto(let reason):
            return "The photo cannot be read: \(reason)"
        case .photoTooLarge(let width, let height, let limit):
            return "The photo is \(width) x \(height), over the limit of \(limit) pixels."
        case .pixelBuffer(let code):
            return "Core Video made no pixel buffer (code \(code))."
        case .wrongCount(let input, let expected, let given):
            return "The input \(input) takes \(expected) elements, not \(given)."
        case .outOfRange(let input, let value, let range):
            return "The input \(input) takes values from \(range.lowerBound) to \(range.upperBound), not \(value)."
        case .invalidSize(let width, let height):
            return "A picture of \(width) x \(height) pixels cannot be made."
        case .closed:
            return "The net was closed."
        }
    }
}
