import CoreGraphics
import CoreImage
import CoreVideo
import Foundation

/// Core Image's way to the model's size (`HydraOptions.Resize.coreImage`), and the decoding of its pictures.
enum CoreImageResize {
    /// One context for all photos: a context compiles its kernels anew. It is safe to use from several threads.
    private static let context = Shared(
        // Without colour management by sRGB values, a context works in linear light: the model was trained on sRGB.
        CIContext(options: [.workingColorSpace: sRGB, .cacheIntermediates: false]))

    private static var sRGB: CGColorSpace { CGColorSpace(name: CGColorSpace.sRGB) ?? CGColorSpaceCreateDeviceRGB() }

    static func upright(_ stored: Stored) -> CIImage {
        let orientation = CGImagePropertyOrientation(rawValue: UInt32(stored.orientation)) ?? .up
        return CIImage(cgImage: stored.image).oriented(orientation)
    }

    /// Return the picture in memory, as sRGB.
    static func decoded(_ image: CIImage) throws -> CGImage {
        let decoded = context.value.createCGImage(image, from: image.extent, format: .RGBA8, colorSpace: sRGB)
        guard let decoded else { throw HydraError.unreadablePhoto("Core Image cannot render it") }
        return decoded
    }

    /// Stretch the whole picture into the buffer.
    static func render(_ image: CIImage, to buffer: CVPixelBuffer, width: Int, height: Int) {
        let extent = image.extent
        let scale = CGFloat(height) / extent.height
        let aspect = CGFloat(width) / extent.width / scale
        let bounds = CGRect(x: 0, y: 0, width: width, height: height)
        let scaled = image
            .transformed(by: CGAffineTransform(translationX: -extent.minX, y: -extent.minY))
            // The filter reads beyond the border, which is transparent without this.
            .clampedToExtent()
            .applyingFilter(
                "CILanczosScaleTransform", parameters: [kCIInputScaleKey: scale, kCIInputAspectRatioKey: aspect])
            .cropped(to: bounds)
        context.value.render(scaled, to: buffer, bounds: bounds, colorSpace: sRGB)
    }
}
