import CoreVideo
import Foundation

/// Pixel buffers that Core ML reads without a copy.
enum PixelBuffers {
    /// Return a BGRA buffer in memory that the GPU and the Neural Engine share (an IOSurface).
    static func make(width: Int, height: Int) throws -> CVPixelBuffer {
        let surface = kCVPixelBufferIOSurfacePropertiesKey as NSString
        let attributes = NSDictionary(object: NSDictionary(), forKey: surface) as CFDictionary
        var buffer: CVPixelBuffer?
        let code = CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, attributes, &buffer)
        guard code == kCVReturnSuccess, let buffer else { throw HydraError.pixelBuffer(code: code) }
        return buffer
    }

    /// Write rows of red, green, blue, alpha into a BGRA buffer, whose rows may be padded.
    static func fill(_ buffer: CVPixelBuffer, _ rgba: [UInt8], width: Int, height: Int) throws {
        let code = CVPixelBufferLockBaseAddress(buffer, [])
        guard code == kCVReturnSuccess else { throw HydraError.pixelBuffer(code: code) }
        defer { _ = CVPixelBufferUnlockBaseAddress(buffer, []) }
        guard let base = CVPixelBufferGetBaseAddress(buffer) else {
            throw HydraError.pixelBuffer(code: kCVReturnError)
        }
        let bytesPerRow = CVPixelBufferGetBytesPerRow(buffer)
        let target = UnsafeMutableRawBufferPointer(start: base, count: bytesPerRow * height)
        Swizzle.bgra(rgba, width: width, height: height, into: target, bytesPerRow: bytesPerRow)
    }
}
