import CoreGraphics
import Foundation

extension HydraMap {
    /// The map as a grey picture at the photo's size; at its own size where it belongs to no photo.
    public func image() throws -> CGImage {
        try image(width: photo?.width ?? width, height: photo?.height ?? height)
    }

    /// The map as a grey picture: its range, or else its least to its greatest value, is black to white.
    public func image(width: Int, height: Int) throws -> CGImage {
        let bytes = try grey(width: width, height: height)
        let provider = CGDataProvider(data: NSData(data: Data(bytes)) as CFData)
        let space = CGColorSpace(name: CGColorSpace.genericGrayGamma2_2) ?? CGColorSpaceCreateDeviceGray()
        guard let provider,
            let image = CGImage(
                width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 8, bytesPerRow: width, space: space,
                bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.none.rawValue), provider: provider, decode: nil,
                shouldInterpolate: false, intent: .defaultIntent)
        else { throw HydraError.invalidSize(width: width, height: height) }
        return image
    }
}
