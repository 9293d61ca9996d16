import Foundation

@testable import HydraNet

/// The golden of the sealed artifact: one sample's inputs, and the outputs that the net should return.
///
/// Files hold raw little-endian elements in the file's own layout, type and range; `mean_abs` is in the file's units.
struct Golden {
    struct Row: Decodable {
        let file: String
        let shape: [Int]
        let dtype: ElementType
        let mean_abs: Float?
    }

    struct Entry: Decodable {
        let inputs: [String: Row]
        let outputs: [String: Row]
    }

    private struct Content: Decodable {
        let entries: [String: Entry]
    }

    let folder: URL
    let entries: [String: Entry]

    init(folder: URL) throws {
        self.folder = folder
        let data = try Data(contentsOf: folder.appendingPathComponent("golden.json"))
        entries = try JSONDecoder().decode(Content.self, from: data).entries
    }

    func bytes(_ row: Row) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: folder.appendingPathComponent(row.file)))
    }

    /// The reference's values of a tensor.
    func values(_ row: Row, _ port: TensorPort) throws -> [Float] {
        let port = port.of(row.dtype)
        return try bytes(row).withUnsafeBytes { try port.unpack($0, strides: port.packedStrides) }
    }

    /// An input as an app gives it: bytes of an image as a photo of the net's own size, which no resize changes.
    func input(_ row: Row, _ port: TensorPort) throws -> Input {
        if row.dtype == .uint8 {
            let rgb = try bytes(row)
            var pixels: [UInt8] = []
            for start in stride(from: 0, to: rgb.count, by: 3) { pixels += rgb[start..<start + 3] + [255] }
            return .photo(HydraPhoto(pixels: pixels, width: row.shape[2], height: row.shape[1]))
        }
        let values = try values(row, port)
        let indices = row.dtype == .int32 && port.scale == 1 && port.zeroPoint == 0
        return .elements(indices ? .integers(values.map { Int32($0) }) : .floats(values))
    }

    /// The mean difference to the golden, in the reference's units. Elements that are not finite must be equal.
    func error(_ actual: [Float], _ row: Row, _ port: TensorPort) throws -> Float {
        let expected = try values(row, port)
        guard actual.count == expected.count else { return .infinity }
        var sum = 0.0
        for (value, wanted) in zip(actual, expected) {
            if value.isFinite, wanted.isFinite {
                sum += Double(abs(value - wanted))
            } else if !(value == wanted || (value.isNaN && wanted.isNaN)) {
                return .infinity
            }
        }
        return Float(sum / Double(max(expected.count, 1)))
    }
}
