// How photos become pixel buffers, against the stubs: their picture format is "RGBA", three 32-bit numbers, pixels.

import CoreImage
import CoreVideo
import XCTest

@testable import HydraNet

final class PhotoTests: XCTestCase {
    private let options = HydraOptions()

    private func encoded(_ width: Int, _ height: Int, _ orientation: Int, _ pixels: [UInt8]) -> Data {
        var data = Data("RGBA".utf8)
        for number in [width, height, orientation] {
            withUnsafeBytes(of: UInt32(number).littleEndian) { data.append(contentsOf: $0) }
        }
        return data + Data(pixels)
    }

    private func pixels(_ count: Int, alpha: UInt8 = 255) -> [UInt8] {
        var pixels: [UInt8] = []
        for index in 0..<count {
            for factor in [11, 29, 71] { pixels.append(UInt8(index * factor % 256)) }
            pixels.append(alpha)
        }
        return pixels
    }

    private func buffer(_ photo: HydraPhoto, _ width: Int = 6, _ height: Int = 8) throws -> ([UInt8], HydraSize) {
        let (buffer, size) = try photo.pixelBuffer(width: width, height: height, options: options)
        return (Fake.bytes(buffer), size)
    }

    func testEveryWayInGivesTheSameBytes() throws {
        let (width, height) = (17, 12)
        let bytes = pixels(width * height)
        let image = CGImage(fakeBytes: bytes, width: width, height: height)
        let (expected, size) = try buffer(HydraPhoto(pixels: bytes, width: width, height: height))
        XCTAssertEqual(size, HydraSize(width: 17, height: 12))
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString) 1.photo")
        try encoded(width, height, 1, bytes).write(to: file)
        let ways = [
            HydraPhoto(data: encoded(width, height, 1, bytes)), HydraPhoto(contentsOf: file), HydraPhoto(image),
            HydraPhoto(CIImage(cgImage: image)),
        ]
        for way in ways { XCTAssertEqual(try buffer(way).0, expected) }
    }

    func testOrientationTurnsBeforeTheResize() throws {
        let (width, height) = (17, 12)
        let bytes = pixels(width * height)
        let (turned, size) = try buffer(HydraPhoto(data: encoded(width, height, 6, bytes)))
        XCTAssertEqual(size, HydraSize(width: 12, height: 17))
        var upright: [UInt8] = []
        for y in 0..<17 {
            for x in 0..<12 {
                let start = ((11 - x) * width + y) * 4
                upright += bytes[start..<start + 4]
            }
        }
        XCTAssertEqual(turned, try buffer(HydraPhoto(pixels: upright, width: 12, height: 17)).0)
        let image = CGImage(fakeBytes: bytes, width: width, height: height)
        XCTAssertEqual(turned, try buffer(HydraPhoto(image, orientation: .right)).0)
    }

    func testTransparencyIsOverWhite() throws {
        let (bytes, _) = try buffer(HydraPhoto(data: encoded(3, 3, 1, pixels(9, alpha: 0))))
        XCTAssertEqual(Set(bytes), [255])
    }

    func testOnePixel() throws {
        let (bytes, size) = try buffer(HydraPhoto(data: encoded(1, 1, 1, [9, 8, 7, 255])))
        XCTAssertEqual(size, HydraSize(width: 1, height: 1))
        XCTAssertEqual(Array(bytes.prefix(6)), [9, 8, 7, 9, 8, 7])
        XCTAssertEqual(Set(stride(from: 0, to: bytes.count, by: 3).map { bytes[$0] }), [9])
    }

    func testFiftyMegapixels() throws {
        let photo = HydraPhoto(CGImage(fakeBytes: [UInt8](repeating: 128, count: 8000 * 6250 * 4), width: 8000, height: 6250))
        let (bytes, size) = try buffer(photo)
        XCTAssertEqual(size, HydraSize(width: 8000, height: 6250))
        XCTAssertEqual(bytes.count, 6 * 8 * 3)
    }

    private func expect(_ expected: HydraError, _ photo: HydraPhoto, width: Int = 6, line: UInt = #line) {
        XCTAssertThrowsError(try buffer(photo, width), line: line) {
            XCTAssertEqual($0 as? HydraError, expected, line: line)
        }
    }

    func testBadPhotos() throws {
        expect(.unreadablePhoto("it is no picture in a format that this system reads"), HydraPhoto(data: Data("text".utf8)))
        expect(
            .unreadablePhoto("it is no picture in a format that this system reads"),
            HydraPhoto(contentsOf: URL(fileURLWithPath: "/no/such/photo.jpg")))
        expect(.unreadablePhoto("it is damaged or truncated"), HydraPhoto(data: encoded(9, 9, 1, pixels(80))))
        expect(.unreadablePhoto("it has no pixels"), HydraPhoto(data: encoded(0, 9, 1, [])))
        expect(
            .photoTooLarge(width: 20_000, height: 20_000, limit: 100_000_000),
            HydraPhoto(data: encoded(20_000, 20_000, 1, [])))
        expect(
            .unreadablePhoto("it has no finite extent"),
            HydraPhoto(CIImage(fakeExtent: .infinite, nil)))
        expect(
            .pixelBuffer(code: kCVReturnAllocationFailed), HydraPhoto(data: encoded(2, 2, 1, pixels(4))),
            width: fakeUnavailableWidth)
    }

    func testCoreImageFillsTheBuffer() throws {
        let image = CGImage(fakeBytes: pixels(12), width: 4, height: 3)
        for photo in [HydraPhoto(image, orientation: .left), HydraPhoto(CIImage(cgImage: image))] {
            let (buffer, _) = try photo.pixelBuffer(width: 6, height: 8, options: HydraOptions(resize: .coreImage))
            XCTAssertEqual(Set(Fake.bytes(buffer)), [77])
        }
    }

    func testMapsBecomePictures() throws {
        let map = HydraMap(
            values: [0, 0.5, 1, 2], width: 2, height: 2, range: 0...1, photo: HydraSize(width: 4, height: 2))
        let image = try map.image()
        XCTAssertEqual([image.width, image.height], [4, 2])
        XCTAssertEqual(try map.image(width: 2, height: 2).fakeBytes, [0, 128, 255, 255])
        XCTAssertThrowsError(try map.image(width: 0, height: 2)) {
            XCTAssertEqual($0 as? HydraError, .invalidSize(width: 0, height: 2))
        }
        let open = HydraMap(values: [-3, 1, .nan, 5], width: 2, height: 2)
        XCTAssertEqual(try open.image().fakeBytes, [0, 128, 0, 255])
        XCTAssertEqual(open.value(atX: 1, y: 0), 1)
    }
}
