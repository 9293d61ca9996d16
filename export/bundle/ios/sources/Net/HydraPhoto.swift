import CoreGraphics
import CoreImage
import CoreVideo
import Foundation
import ImageIO

/// A photo for the net. It is decoded, turned upright and resized when a method of the net needs it, off the caller's
/// thread; a damaged photo throws there.
public struct HydraPhoto: @unchecked Sendable {
    // Unchecked: images of Core Graphics and Core Image are immutable, and the bytes are a copy.
    enum Source {
        case data(Data)
        case file(URL)
        case image(CGImage, Int)
        case core(CIImage)
        case pixels([UInt8], HydraSize)
    }

    let source: Source

    /// A photo in a format that the system reads (JPEG, HEIC, PNG, ...), turned by its EXIF orientation.
    public init(data: Data) { source = .data(data) }

    /// A photo's file, turned by its EXIF orientation.
    public init(contentsOf url: URL) { source = .file(url) }

    /// A decoded picture, which `orientation` turns upright. UIImage: give its `cgImage` and its orientation's value.
    public init(_ image: CGImage, orientation: CGImagePropertyOrientation = .up) {
        source = .image(image, Int(orientation.rawValue))
    }

    /// A picture of Core Image, such as a camera's frame, which must be upright (`oriented(_:)`).
    public init(_ image: CIImage) { source = .core(image) }

    /// A camera's frame.
    public init(_ frame: CVPixelBuffer, orientation: CGImagePropertyOrientation = .up) {
        source = .core(CIImage(cvPixelBuffer: frame).oriented(orientation))
    }

    /// Upright sRGB pixels: rows of red, green, blue, and one byte that is not read.
    public init(pixels: [UInt8], width: Int, height: Int) {
        source = .pixels(pixels, HydraSize(width: width, height: height))
    }
}

/// A picture with its EXIF orientation.
struct Stored {
    let image: CGImage
    let orientation: Int

    var upright: HydraSize {
        let swaps = Orientation(orientation).swaps
        return HydraSize(width: swaps ? image.height : image.width, height: swaps ? image.width : image.height)
    }
}

extension HydraPhoto {
    /// Return the pixel buffer of the model's size and the size of the upright photo. Takes long: not for an actor.
    func pixelBuffer(width: Int, height: Int, options: HydraOptions) throws -> (CVPixelBuffer, HydraSize) {
        let buffer = try PixelBuffers.make(width: width, height: height)
        switch source {
        case .pixels(let bytes, let size):
            try Self.check(size, options)
            let resized = try bytes.withUnsafeBytes {
                try Pixels($0, width: size.width, height: size.height).resized(width: width, height: height)
            }
            try PixelBuffers.fill(buffer, resized, width: width, height: height)
            return (buffer, size)
        case .core(let image):
            let extent = image.extent
            guard !extent.isInfinite, extent.width >= 1, extent.height >= 1 else {
                throw HydraError.unreadablePhoto("it has no finite extent")
            }
            let size = HydraSize(width: Int(extent.width), height: Int(extent.height))
            try Self.check(size, options)
            if options.resize == .coreImage {
                CoreImageResize.render(image, to: buffer, width: width, height: height)
                return (buffer, size)
            }
            let decoded = Stored(image: try CoreImageResize.decoded(image), orientation: 1)
            return (buffer, try Self.fill(buffer, with: decoded, width: width, height: height))
        case .data, .file, .image:
            let stored = try self.stored(options)
            if options.resize == .coreImage {
                CoreImageResize.render(CoreImageResize.upright(stored), to: buffer, width: width, height: height)
                return (buffer, stored.upright)
            }
            return (buffer, try Self.fill(buffer, with: stored, width: width, height: height))
        }
    }

    /// Return the decoded picture. Its size is checked before it is decoded.
    private func stored(_ options: HydraOptions) throws -> Stored {
        let source: CGImageSource?
        switch self.source {
        case .image(let image, let orientation):
            let stored = Stored(image: image, orientation: orientation)
            try Self.check(stored.upright, options)
            return stored
        case .file(let url):
            source = CGImageSourceCreateWithURL(NSURL(fileURLWithPath: url.path) as CFURL, nil)
        case .data(let data):
            source = CGImageSourceCreateWithData(NSData(data: data) as CFData, nil)
        case .core, .pixels:
            throw HydraError.unreadablePhoto("it is no stored picture")
        }
        guard let source, CGImageSourceGetCount(source) > 0,
            let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as NSDictionary?
        else { throw HydraError.unreadablePhoto("it is no picture in a format that this system reads") }
        func number(_ key: CFString) -> Int? { (properties.object(forKey: key as NSString) as? NSNumber)?.intValue }
        if let width = number(kCGImagePropertyPixelWidth), let height = number(kCGImagePropertyPixelHeight) {
            try Self.check(HydraSize(width: width, height: height), options)
        }
        guard let image = CGImageSourceCreateImageAtIndex(source, 0, nil) else {
            throw HydraError.unreadablePhoto("it is damaged or truncated")
        }
        return Stored(image: image, orientation: number(kCGImagePropertyOrientation) ?? 1)
    }

    private static func check(_ size: HydraSize, _ options: HydraOptions) throws {
        guard size.width > 0, size.height > 0 else { throw HydraError.unreadablePhoto("it has no pixels") }
        let (pixels, overflow) = size.width.multipliedReportingOverflow(by: size.height)
        if overflow || pixels > options.maximumPixels {
            throw HydraError.photoTooLarge(width: size.width, height: size.height, limit: options.maximumPixels)
        }
    }

    /// Fill the buffer as the contract says: sRGB, over white, upright, stretched. Returns the upright photo's size.
    private static func fill(_ buffer: CVPixelBuffer, with stored: Stored, width: Int, height: Int) throws -> HydraSize {
        let image = stored.image
        let info = CGImageAlphaInfo.noneSkipLast.rawValue | CGBitmapInfo.byteOrder32Big.rawValue
        // Drawing converts the colours to the context's space. Its size is the picture's, so that nothing is resized.
        guard let space = CGColorSpace(name: CGColorSpace.sRGB),
            let context = CGContext(
                data: nil, width: image.width, height: image.height, bitsPerComponent: 8, bytesPerRow: image.width * 4,
                space: space, bitmapInfo: info),
            let bytes = context.data
        else { throw HydraError.unreadablePhoto("there is no memory for \(image.width) x \(image.height) pixels") }
        let bounds = CGRect(x: 0, y: 0, width: image.width, height: image.height)
        context.setFillColor(red: 1, green: 1, blue: 1, alpha: 1)
        context.fill(bounds)
        context.draw(image, in: bounds)
        // The context owns the bytes: it must live until they are read.
        try withExtendedLifetime(context) {
            let memory = UnsafeRawBufferPointer(start: bytes, count: image.width * image.height * 4)
            let pixels = Pixels(memory, width: image.width, height: image.height, orientation: stored.orientation)
            let resized = try pixels.resized(width: width, height: height)
            try PixelBuffers.fill(buffer, resized, width: width, height: height)
        }
        return stored.upright
    }
}
