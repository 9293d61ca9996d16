// Stub of Image I/O: see README.md.

@_exported import CoreGraphics

// documentation/imageio/cgimagepropertyorientation
public enum CGImagePropertyOrientation: UInt32, Sendable {
    case up = 1
    case upMirrored, down, downMirrored, leftMirrored, right, rightMirrored, left
}

// documentation/imageio/kcgimagepropertypixelwidth, kcgimagepropertypixelheight, kcgimagepropertyorientation
public var kCGImagePropertyPixelWidth: CFString { "PixelWidth" }
public var kCGImagePropertyPixelHeight: CFString { "PixelHeight" }
public var kCGImagePropertyOrientation: CFString { "Orientation" }

// documentation/imageio/cgimagesource
public final class CGImageSource {
    let header: [Int]
    let bytes: [UInt8]

    init?(_ data: Data?) {
        guard let data, data.count >= 16, data.prefix(4) == Data("RGBA".utf8) else { return nil }
        let all = [UInt8](data)
        header = (1...3).map { index in
            all.withUnsafeBytes { Int(UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))) }
        }
        bytes = Array(all[16...])
    }
}

// documentation/imageio/cgimagesourcecreatewithdata(_:_:)
public func CGImageSourceCreateWithData(_ data: CFData, _ options: CFDictionary?) -> CGImageSource? {
    CGImageSource(Data(referencing: data))
}

// documentation/imageio/cgimagesourcecreatewithurl(_:_:)
public func CGImageSourceCreateWithURL(_ url: CFURL, _ options: CFDictionary?) -> CGImageSource? {
    CGImageSource(try? Data(contentsOf: url as URL))
}

// documentation/imageio/cgimagesourcegetcount(_:)
public func CGImageSourceGetCount(_ source: CGImageSource) -> Int { 1 }

// documentation/imageio/cgimagesourcecopypropertiesatindex(_:_:_:)
public func CGImageSourceCopyPropertiesAtIndex(
    _ source: CGImageSource, _ index: Int, _ options: CFDictionary?
) -> CFDictionary? {
    let keys = [kCGImagePropertyPixelWidth, kCGImagePropertyPixelHeight, kCGImagePropertyOrientation]
    return NSDictionary(objects: source.header.map { NSNumber(value: $0) }, forKeys: keys)
}

// documentation/imageio/cgimagesourcecreateimageatindex(_:_:_:)
public func CGImageSourceCreateImageAtIndex(
    _ source: CGImageSource, _ index: Int, _ options: CFDictionary?
) -> CGImage? {
    let (width, height) = (source.header[0], source.header[1])
    guard source.bytes.count == width * height * 4 else { return nil }
    return CGImage(fakeBytes: source.bytes, width: width, height: height)
}
