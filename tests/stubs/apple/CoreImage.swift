// Stub of Core Image: see README.md. Nothing is filtered: an image remembers its extent, and its pixels where it has any.

@_exported import CoreVideo
@_exported import ImageIO

// documentation/coreimage/kciinputscalekey, kciinputaspectratiokey, kciinputmaskkey, ...
public var kCIInputScaleKey: String { "inputScale" }
public var kCIInputAspectRatioKey: String { "inputAspectRatio" }
public var kCIInputRadiusKey: String { "inputRadius" }

// documentation/coreimage/ciimage
public final class CIImage {
    // documentation/coreimage/ciimage/extent
    public let extent: CGRect
    public let fakeImage: CGImage?

    public init(fakeExtent: CGRect, _ image: CGImage?) { (extent, fakeImage) = (fakeExtent, image) }

    // documentation/coreimage/ciimage/init(cgimage:)
    public init(cgImage: CGImage) {
        extent = CGRect(x: 0, y: 0, width: cgImage.width, height: cgImage.height)
        fakeImage = cgImage
    }

    // documentation/coreimage/ciimage/init(data:options:)
    public init?(data: Data, options: [CIImageOption: Any]? = nil) { return nil }

    // documentation/coreimage/ciimage/init(cvpixelbuffer:)
    public init(cvPixelBuffer: CVPixelBuffer) {
        extent = CGRect(x: 0, y: 0, width: cvPixelBuffer.fakeWidth, height: cvPixelBuffer.fakeHeight)
        fakeImage = nil
    }

    // documentation/coreimage/ciimage/oriented(_:)-6h9fp
    public func oriented(_ orientation: CGImagePropertyOrientation) -> CIImage {
        guard orientation.rawValue >= 5 else { return self }
        return CIImage(fakeExtent: CGRect(x: 0, y: 0, width: extent.height, height: extent.width), fakeImage)
    }

    // documentation/coreimage/ciimage/transformed(by:)
    public func transformed(by matrix: CGAffineTransform) -> CIImage { self }
    // documentation/coreimage/ciimage/clampedtoextent()
    public func clampedToExtent() -> CIImage { self }
    // documentation/coreimage/ciimage/cropped(to:)
    public func cropped(to rect: CGRect) -> CIImage { CIImage(fakeExtent: rect, fakeImage) }
    // documentation/coreimage/ciimage/applyingfilter(_:parameters:)
    public func applyingFilter(_ filterName: String, parameters params: [String: Any]) -> CIImage { self }
}

// documentation/coreimage/ciimageoption
public struct CIImageOption: Hashable, Sendable {
    // documentation/coreimage/ciimageoption/applyorientationproperty
    public static var applyOrientationProperty: CIImageOption { CIImageOption() }
}

// documentation/coreimage/cicontextoption
public struct CIContextOption: Hashable, Sendable {
    let name: String
    // documentation/coreimage/cicontextoption/workingcolorspace, cacheintermediates
    public static var workingColorSpace: CIContextOption { CIContextOption(name: "space") }
    public static var cacheIntermediates: CIContextOption { CIContextOption(name: "cache") }
}

// documentation/coreimage/ciformat
public struct CIFormat: Sendable {
    // documentation/coreimage/ciformat/rgba8
    public static var RGBA8: CIFormat { CIFormat() }
}

// documentation/coreimage/cicontext
public final class CIContext {
    // documentation/coreimage/cicontext/init(options:)
    public init(options: [CIContextOption: Any]?) {}

    // documentation/coreimage/cicontext/createcgimage(_:from:)
    public func createCGImage(_ image: CIImage, from fromRect: CGRect) -> CGImage? { image.fakeImage }

    // documentation/coreimage/cicontext/createcgimage(_:from:format:colorspace:)
    public func createCGImage(
        _ image: CIImage, from fromRect: CGRect, format: CIFormat, colorSpace: CGColorSpace?
    ) -> CGImage? { image.fakeImage }

    // documentation/coreimage/cicontext/render(_:to:bounds:colorspace:)
    public func render(_ image: CIImage, to buffer: CVPixelBuffer, bounds: CGRect, colorSpace: CGColorSpace?) {
        memset(buffer.fakeMemory, 77, buffer.fakeBytesPerRow * buffer.fakeHeight)
    }
}
