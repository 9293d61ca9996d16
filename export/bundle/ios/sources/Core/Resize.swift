import Dispatch

// The model's preprocessing: the whole photo, upright, stretched to the model's size, bilinear, antialiased where it
// shrinks. It is Pillow's BILINEAR with its rounding to bytes between the two passes, so that the net gets the same
// bytes here as in Python. A plain bilinear resize, as views and thumbnails have it, costs accuracy.

/// One pixel's channels in two words, with 32 bits per channel: a multiplication by a weight serves two channels.
private struct Sums {
    var redBlue: UInt64
    var green: UInt64

    static let half = UInt64(1) << (Windows.bits - 1)

    @inline(__always)
    init() {
        redBlue = Self.half | Self.half << 32
        green = Self.half
    }

    @inline(__always)
    mutating func add(_ pixel: UInt32, _ weight: UInt64) {
        let pixel = UInt64(pixel)
        redBlue &+= (pixel & 0xFF | (pixel & 0xFF_0000) << 16) &* weight
        green &+= (pixel >> 8 & 0xFF) &* weight
    }

    /// The rounded pixel. Weights are positive and sum to one, so that no channel needs clipping but at 255.
    @inline(__always)
    var pixel: UInt32 {
        let red = min((redBlue & 0xFFFF_FFFF) >> Windows.bits, 255)
        let blue = min(redBlue >> (32 + Windows.bits), 255)
        let green = min(green >> Windows.bits, 255)
        return UInt32(truncatingIfNeeded: red | green << 8 | blue << 16 | 0xFF00_0000)
    }
}

/// A picture of 32-bit pixels: red in the lowest byte.
private struct Plane {
    var pixels: [UInt32]
    let width: Int
    let height: Int
}

/// The pixels that a pass writes. Its parts write different rows at the same time.
private struct Target: @unchecked Sendable {
    let start: UnsafeMutablePointer<UInt32>
}

extension Pixels {
    /// Return the upright photo, stretched to `width` x `height`: rows of red, green, blue, 255.
    package func resized(width: Int, height: Int) throws -> [UInt8] {
        guard width > 0, height > 0, self.width > 0, self.height > 0, bytesPerRow >= self.width * 4,
            bytes.count >= bytesPerRow * (self.height - 1) + self.width * 4
        else { throw HydraError.invalidSize(width: self.width, height: self.height) }
        let turn = Orientation(orientation)
        let columns = Windows(from: self.width, to: turn.swaps ? height : width, flipped: turn.flipsColumns)
        let rows = Windows(from: self.height, to: turn.swaps ? width : height, flipped: turn.flipsRows)
        // The pass along the upright photo's rows is the first, as in Pillow: the rounding between them depends on it.
        let result = turn.swaps ? across(down(self, rows), columns) : down(across(self, columns), rows)
        return bytesOf(result, transposed: turn.swaps)
    }

    private func across(_ source: Pixels, _ windows: Windows) -> Plane {
        Plane.make(width: windows.first.count, height: source.height) { target in
            let weights = windows.fixed
            Bands.run(source.height) { rows in
                for y in rows {
                    let row = source.row(y)
                    windows.apply(weights, to: target.start + y * windows.first.count) { row.pixel($0) }
                }
            }
        }
    }

    private func across(_ source: Plane, _ windows: Windows) -> Plane {
        source.pixels.withUnsafeBytes { bytes in
            across(Pixels(bytes, width: source.width, height: source.height), windows)
        }
    }

    private func down(_ source: Plane, _ windows: Windows) -> Plane {
        source.pixels.withUnsafeBytes { bytes in
            down(Pixels(bytes, width: source.width, height: source.height), windows)
        }
    }

    /// Return the picture of the target rows; each is a weighted sum of source rows, which are read in order.
    private func down(_ source: Pixels, _ windows: Windows) -> Plane {
        Plane.make(width: source.width, height: windows.first.count) { target in
            let weights = windows.fixed
            Bands.run(windows.first.count) { indices in
                var sums = [Sums](repeating: Sums(), count: source.width)
                sums.withUnsafeMutableBufferPointer { sums in
                    for index in indices {
                        for x in 0..<source.width { sums[x] = Sums() }
                        for item in windows.start[index]..<windows.start[index + 1] {
                            let y = windows.first[index] + item - windows.start[index]
                            let row = source.row(y)
                            let weight = weights[item]
                            for x in 0..<source.width { sums[x].add(row.pixel(x), weight) }
                        }
                        for x in 0..<source.width { target.start[index * source.width + x] = sums[x].pixel }
                    }
                }
            }
        }
    }

    /// The first byte of a row. `resized` has checked that there are rows.
    @inline(__always)
    fileprivate func row(_ y: Int) -> UnsafeRawPointer { bytes.baseAddress! + y * bytesPerRow }

    private func bytesOf(_ plane: Plane, transposed: Bool) -> [UInt8] {
        let count = plane.width * plane.height
        return [UInt8](unsafeUninitializedCapacity: count * 4) { bytes, used in
            for index in 0..<count {
                let (x, y) = (index % plane.width, index / plane.width)
                let place = transposed ? x * plane.height + y : index
                let pixel = plane.pixels[index].littleEndian
                UnsafeMutableRawBufferPointer(bytes).storeBytes(of: pixel, toByteOffset: place * 4, as: UInt32.self)
            }
            used = count * 4
        }
    }
}

extension Windows {
    /// Write the weighted sums of one row of pixels.
    @inline(__always)
    fileprivate func apply(
        _ fixed: [UInt64], to target: UnsafeMutablePointer<UInt32>, _ pixel: (Int) -> UInt32
    ) {
        fixed.withUnsafeBufferPointer { fixed in
            for index in 0..<first.count {
                var sums = Sums()
                let from = start[index]
                let offset = first[index] - from
                for item in from..<start[index + 1] { sums.add(pixel(offset + item), fixed[item]) }
                target[index] = sums.pixel
            }
        }
    }
}

extension UnsafeRawPointer {
    @inline(__always)
    fileprivate func pixel(_ index: Int) -> UInt32 {
        UInt32(littleEndian: loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
    }
}

extension Plane {
    static func make(width: Int, height: Int, _ fill: (Target) -> Void) -> Plane {
        let pixels = [UInt32](unsafeUninitializedCapacity: width * height) { buffer, count in
            if let base = buffer.baseAddress { fill(Target(start: base)) }
            count = width * height
        }
        return Plane(pixels: pixels, width: width, height: height)
    }
}

/// Independent parts of a loop on all processors.
private enum Bands {
    static func run(_ count: Int, _ body: @Sendable (Range<Int>) -> Void) {
        // Few rows per part: phones have fast and slow cores.
        let size = max(count / 32, 1)
        let parts = (count + size - 1) / size
        DispatchQueue.concurrentPerform(iterations: parts) { part in
            body(part * size..<min((part + 1) * size, count))
        }
    }
}
