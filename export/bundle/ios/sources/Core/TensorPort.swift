/// The type of a tensor's elements in the model's file.
package enum ElementType: String, Sendable, Decodable {
    case float16, float32, float64, int32, int8, uint8

    package var bytes: Int {
        switch self {
        case .float16: return 2
        case .float32, .int32: return 4
        case .float64: return 8
        case .int8, .uint8: return 1
        }
    }

    package var isInteger: Bool { self == .int32 || self == .int8 || self == .uint8 }
}

/// One input or output of a module, as the file has it.
///
/// An element in the file is `element * scale + zeroPoint`, rounded where the type is an integer.
package struct TensorPort: Sendable {
    package let name: String
    package let fileName: String
    package let shape: [Int]
    package let type: ElementType
    /// For each axis of the reference's tensor, the axis of the file's.
    package let axes: [Int]
    package let scale: Float
    package let zeroPoint: Float
    package let range: ClosedRange<Float>?

    package init(
        _ name: String, file fileName: String, shape: [Int], type: ElementType, axes: [Int]? = nil,
        scale: Float = 1, zeroPoint: Float = 0, range: ClosedRange<Float>? = nil
    ) {
        self.name = name
        self.fileName = fileName
        self.shape = shape
        self.type = type
        self.axes = axes ?? Array(shape.indices)
        self.scale = scale
        self.zeroPoint = zeroPoint
        self.range = range
    }

    /// The same port with the type that the runtime chose.
    package func of(_ type: ElementType) -> TensorPort {
        TensorPort(
            name, file: fileName, shape: shape, type: type, axes: axes, scale: scale, zeroPoint: zeroPoint, range: range)
    }

    package var count: Int { shape.reduce(1, *) }
    /// The shape in the reference's order of axes.
    package var referenceShape: [Int] { axes.map { shape[$0] } }
    /// The strides of the file's tensor where it is packed, in elements.
    package var packedStrides: [Int] {
        var strides = Array(repeating: 1, count: shape.count)
        for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
        return strides
    }
}
