// Stub of Core Video: see README.md.

@_exported import CoreGraphics

// documentation/corevideo/cvpixelbuffer
public final class CVPixelBuffer {
    public let fakeWidth: Int
    public let fakeHeight: Int
    public let fakeBytesPerRow: Int
    public let fakeMemory: UnsafeMutableRawPointer

    init(width: Int, height: Int) {
        (fakeWidth, fakeHeight) = (width, height)
        fakeBytesPerRow = (width * 4 + 63) / 64 * 64
        fakeMemory = .allocate(byteCount: fakeBytesPerRow * height, alignment: 64)
    }

    deinit { fakeMemory.deallocate() }
}

// documentation/corevideo/cvreturn
public typealias CVReturn = Int32
// documentation/corevideo/kcvreturnsuccess, kcvreturnerror, kcvreturnallocationfailed
public let kCVReturnSuccess: CVReturn = 0
public let kCVReturnError: CVReturn = -6660
public let kCVReturnAllocationFailed: CVReturn = -6662
// documentation/corevideo/kcvpixelformattype_32bgra
public let kCVPixelFormatType_32BGRA: OSType = 0x4247_5241
public typealias OSType = UInt32
// documentation/corevideo/kcvpixelbufferiosurfacepropertieskey
public var kCVPixelBufferIOSurfacePropertiesKey: CFString { "IOSurfaceProperties" }
// documentation/corevideo/cvpixelbufferlockflags
public struct CVPixelBufferLockFlags: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Buffers of this width cannot be made.
public let fakeUnavailableWidth = 13

// documentation/corevideo/cvpixelbuffercreate(_:_:_:_:_:_:)
public func CVPixelBufferCreate(
    _ allocator: CFAllocator?, _ width: Int, _ height: Int, _ pixelFormatType: OSType,
    _ pixelBufferAttributes: CFDictionary?, _ pixelBufferOut: UnsafeMutablePointer<CVPixelBuffer?>
) -> CVReturn {
    guard pixelBufferAttributes?.object(forKey: kCVPixelBufferIOSurfacePropertiesKey) != nil else {
        return kCVReturnError
    }
    if width == fakeUnavailableWidth { return kCVReturnAllocationFailed }
    pixelBufferOut.pointee = CVPixelBuffer(width: width, height: height)
    return kCVReturnSuccess
}

// documentation/corevideo/cvpixelbufferlockbaseaddress(_:_:)
public func CVPixelBufferLockBaseAddress(_ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags) -> CVReturn { 0 }
// documentation/corevideo/cvpixelbufferunlockbaseaddress(_:_:)
public func CVPixelBufferUnlockBaseAddress(_ buffer: CVPixelBuffer, _ flags: CVPixelBufferLockFlags) -> CVReturn { 0 }
// documentation/corevideo/cvpixelbuffergetbaseaddress(_:)
public func CVPixelBufferGetBaseAddress(_ buffer: CVPixelBuffer) -> UnsafeMutableRawPointer? { buffer.fakeMemory }
// documentation/corevideo/cvpixelbuffergetbytesperrow(_:)
public func CVPixelBufferGetBytesPerRow(_ buffer: CVPixelBuffer) -> Int { buffer.fakeBytesPerRow }
