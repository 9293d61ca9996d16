// Stub of Core Graphics: see README.md.

@_exported import Foundation

// documentation/corefoundation/cfstring, cfdictionary, cfdata, cfurl, cfallocator
public typealias CFString = NSString
public typealias CFDictionary = NSDictionary
public typealias CFData = NSData
public typealias CFURL = NSURL
public final class CFAllocator {}

// documentation/coregraphics/cgcolorspace
public final class CGColorSpace {
    let name: String
    // documentation/coregraphics/cgcolorspace/init(name:)
    public init?(name: CFString) { self.name = "\(name)" }
    // documentation/coregraphics/cgcolorspace/srgb
    public static var sRGB: CFString { "sRGB" }
    // documentation/coregraphics/cgcolorspace/genericgraygamma2_2
    public static var genericGrayGamma2_2: CFString { "grey" }
}

// documentation/coregraphics/cgcolorspacecreatedevicergb()
public func CGColorSpaceCreateDeviceRGB() -> CGColorSpace { CGColorSpace(name: "device RGB")! }
// documentation/coregraphics/cgcolorspacecreatedevicegray()
public func CGColorSpaceCreateDeviceGray() -> CGColorSpace { CGColorSpace(name: "device grey")! }

// documentation/coregraphics/cgimagealphainfo
public enum CGImageAlphaInfo: UInt32, Sendable {
    case none = 0
    case premultipliedLast = 1
    case premultipliedFirst = 2
    case last = 3
    case first = 4
    case noneSkipLast = 5
    case noneSkipFirst = 6
    case alphaOnly = 7
}

// documentation/coregraphics/cgbitmapinfo
public struct CGBitmapInfo: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    // documentation/coregraphics/cgbitmapinfo/byteorder32big
    public static var byteOrder32Big: CGBitmapInfo { CGBitmapInfo(rawValue: 4 << 12) }
}

// documentation/coregraphics/cgcolorrenderingintent
public enum CGColorRenderingIntent: Int32, Sendable {
    case defaultIntent = 0
    case perceptual = 3
}

// documentation/coregraphics/cgdataprovider
public final class CGDataProvider {
    let data: NSData
    // documentation/coregraphics/cgdataprovider/init(data:)
    public init?(data: CFData) { self.data = data }
}

// documentation/coregraphics/cgimage
public final class CGImage {
    // documentation/coregraphics/cgimage/width, height
    public let width: Int
    public let height: Int
    /// The fake's pixels: four bytes per pixel, or one for a grey picture.
    public let fakeBytes: [UInt8]

    public init(fakeBytes: [UInt8], width: Int, height: Int) {
        (self.fakeBytes, self.width, self.height) = (fakeBytes, width, height)
    }

    // documentation/coregraphics/cgimage/init(width:height:bitspercomponent:bitsperpixel:bytesperrow:space:bitmapinfo:
    // provider:decode:shouldinterpolate:intent:)
    public init?(
        width: Int, height: Int, bitsPerComponent: Int, bitsPerPixel: Int, bytesPerRow: Int, space: CGColorSpace,
        bitmapInfo: CGBitmapInfo, provider: CGDataProvider, decode: UnsafePointer<CGFloat>?, shouldInterpolate: Bool,
        intent: CGColorRenderingIntent
    ) {
        guard width > 0, height > 0, provider.data.length >= bytesPerRow * height else { return nil }
        (self.width, self.height) = (width, height)
        fakeBytes = [UInt8](Data(referencing: provider.data))
    }
}

// documentation/coregraphics/cgcontext
public final class CGContext {
    let width: Int
    let height: Int
    let memory: UnsafeMutableRawPointer

    // documentation/coregraphics/cgcontext/init(data:width:height:bitspercomponent:bytesperrow:space:bitmapinfo:)
    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int,
        space: CGColorSpace, bitmapInfo: UInt32
    ) {
        guard data == nil, width > 0, height > 0, bytesPerRow == width * 4 else { return nil }
        (self.width, self.height) = (width, height)
        memory = .allocate(byteCount: width * height * 4, alignment: 16)
    }

    deinit { memory.deallocate() }

    // documentation/coregraphics/cgcontext/data
    public var data: UnsafeMutableRawPointer? { memory }
    // documentation/coregraphics/cgcontext/setfillcolor(red:green:blue:alpha:)
    public func setFillColor(red: CGFloat, green: CGFloat, blue: CGFloat, alpha: CGFloat) {}
    // documentation/coregraphics/cgcontext/fill(_:)
    public func fill(_ rect: CGRect) { memset(memory, 255, width * height * 4) }
    // documentation/coregraphics/cgcontext/draw(_:in:bytiling:)
    public func draw(_ image: CGImage, in rect: CGRect, byTiling: Bool = false) {
        precondition(image.width == width && image.height == height, "the fake draws at the same size alone")
        for pixel in 0..<width * height {
            let alpha = Int(image.fakeBytes[pixel * 4 + 3])
            for channel in 0..<3 {
                let over = (Int(image.fakeBytes[pixel * 4 + channel]) * alpha + 255 * (255 - alpha) + 127) / 255
                memory.storeBytes(of: UInt8(over), toByteOffset: pixel * 4 + channel, as: UInt8.self)
            }
        }
    }
}

// documentation/coregraphics/cgaffinetransform
public struct CGAffineTransform: Sendable {
    // documentation/corefoundation/cgaffinetransform/init(translationx:y:)
    public init(translationX: CGFloat, y: CGFloat) {}
    // documentation/corefoundation/cgaffinetransform/init(scalex:y:)
    public init(scaleX: CGFloat, y: CGFloat) {}
}
