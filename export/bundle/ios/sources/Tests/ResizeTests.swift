import XCTest

@testable import HydraNet

/// The preprocessing, against Pillow's BILINEAR, which is the model's.
final class ResizeTests: XCTestCase {
    /// A picture of 5 x 4 pixels whose channels are multiples of 12, 37 and 93 modulo 256.
    private let pixels: [UInt8] = {
        var pixels: [UInt8] = []
        for index in 0..<20 {
            for factor in [12, 37, 93] { pixels.append(UInt8(index * factor % 256)) }
            pixels.append(255)
        }
        return pixels
    }()

    private func red(_ width: Int, _ height: Int, orientation: Int = 1) throws -> [UInt8] {
        let resized = try pixels.withUnsafeBytes {
            try Pixels($0, width: 5, height: 4, orientation: orientation).resized(width: width, height: height)
        }
        return stride(from: 0, to: resized.count, by: 4).map { resized[$0] }
    }

    func testShrinks() throws {
        XCTAssertEqual(try red(2, 2), [55, 79, 149, 173])
    }

    func testTurnsUprightFirst() throws {
        XCTAssertEqual(try red(2, 3, orientation: 6), [142, 48, 161, 67, 180, 86])
    }

    func testGrows() throws {
        XCTAssertEqual(try red(7, 4), [0, 7, 15, 24, 33, 41, 48, 60, 67, 75, 84, 93, 101, 108, 120, 127, 135, 144, 153, 161, 168, 180, 187, 195, 204, 213, 221, 228])
    }

    func testSameSizeIsACopy() throws {
        XCTAssertEqual(try red(5, 4), (0..<20).map { UInt8($0 * 12 % 256) })
    }
}
