/// A photo's pixels in memory that somebody else owns: rows of four bytes, red, green, blue, and one that is not read.
/// The owner keeps them as they are as long as they are read, from any thread.
package struct Pixels: @unchecked Sendable {
    package let bytes: UnsafeRawBufferPointer
    package let width: Int
    package let height: Int
    package let bytesPerRow: Int
    /// The EXIF orientation, 1 to 8.
    package let orientation: Int

    package init(
        _ bytes: UnsafeRawBufferPointer, width: Int, height: Int, bytesPerRow: Int? = nil, orientation: Int = 1
    ) {
        self.bytes = bytes
        self.width = width
        self.height = height
        self.bytesPerRow = bytesPerRow ?? width * 4
        self.orientation = orientation
    }
}

/// The size of a picture in pixels.
public struct HydraSize: Sendable, Equatable {
    public let width: Int
    public let height: Int

    public init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }
}

/// What an EXIF orientation does to the axes of a picture.
package struct Orientation {
    /// Whether the upright picture's rows are the stored one's columns.
    package let swaps: Bool
    /// Whether the stored columns, or rows, run against the axis of the upright picture that they become.
    package let flipsColumns: Bool
    package let flipsRows: Bool

    package init(_ exif: Int) {
        swaps = exif >= 5 && exif <= 8
        flipsColumns = [2, 3, 7, 8].contains(exif)
        flipsRows = [3, 4, 6, 7].contains(exif)
    }
}

/// Other orders of a pixel's bytes.
package enum Swizzle {
    /// Write rows of red, green, blue, alpha as blue, green, red, alpha.
    package static func bgra(
        _ rgba: [UInt8], width: Int, height: Int, into target: UnsafeMutableRawBufferPointer, bytesPerRow: Int
    ) {
        precondition(rgba.count == width * height * 4 && target.count >= bytesPerRow * (height - 1) + width * 4)
        for y in 0..<height {
            for x in 0..<width {
                let from = (y * width + x) * 4
                let to = y * bytesPerRow + x * 4
                target[to] = rgba[from + 2]
                target[to + 1] = rgba[from + 1]
                target[to + 2] = rgba[from]
                target[to + 3] = rgba[from + 3]
            }
        }
    }
}
