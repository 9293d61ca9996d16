import Dispatch

// The model's preprocessing: the whole photo, upright, stretched to the model's size, bilinear, antialiased where it
// shrinks. It is Pillow's BILINEAR with its rounding to bytes between the two passes, rows first, so that the net gets the
// same bytes here as in Python. A plain bilinear resize, as views and thumbnails have it, costs accuracy.

/// The weighted sums of two pixels, 32 bits per channel: one multiplication serves a channel of both.
private struct Lanes {
    private var red = half
    private var green = half
    private var blue = half

    private static let half = UInt64(1) << (Windows.bits - 1) | UInt64(1) << (Windows.bits + 31)
    private static let bytes: UInt64 = 0xFF_0000_00FF

    /// Add two pixels, each in 32 bits, with red in the lowest byte.
    @inline(__always)
    mutating func add(_ pixels: UInt64, _ weight: UInt64) {
        red &+= (pixels & Self.bytes) &* weight
        green &+= (pixels >> 8 & Self.bytes) &* weight
        blue &+= (pixels >> 16 & Self.bytes) &* weight
    }

    @inline(__always)
    var low: UInt32 { Self.pixel(red & 0xFFFF_FFFF, green & 0xFFFF_FFFF, blue & 0xFFFF_FFFF) }
    @inline(__always)
    var high: UInt32 { Self.pixel(red >> 32, green >> 32, blue >> 32) }

    /// Weights are positive and sum to one, so that a channel needs clipping at 255 alone.
    @inline(__always)
    private static func pixel(_ red: UInt64, _ green: UInt64, _ blue: UInt64) -> UInt32 {
        let red = min(red >> Windows.bits, 255)
        let green = min(green >> Windows.bits, 255)
        let blue = min(blue >> Windows.bits, 255)
        return UInt32(truncatingIfNeeded: red | green << 8 | blue << 16 | 0xFF00_0000)
    }
}

/// A picture of 32-bit pixels: red in the lowest byte.
private struct Plane {
    var pixels: [UInt32]
    let width: Int
    let height: Int

    static func make(width: Int, height: Int, _ fill: (Target) -> Void) -> Plane {
        let pixels = [UInt32](unsafeUninitializedCapacity: width * height) { buffer, count in
            if let base = buffer.baseAddress { fill(Target(start: base)) }
            count = width * height
        }
        return Plane(pixels: pixels, width: width, height: height)
    }
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
        // The pass along the upright photo's rows is the first: the rounding between them depends on it.
        let result = turn.swaps ? across(down(self, rows), columns) : down(across(self, columns), rows)
        return bytesOf(result, transposed: turn.swaps)
    }

    private func across(_ source: Plane, _ windows: Windows) -> Plane {
        source.pixels.withUnsafeBytes { across(Pixels($0, width: source.width, height: source.height), windows) }
    }

    private func down(_ source: Plane, _ windows: Windows) -> Plane {
        source.pixels.withUnsafeBytes { down(Pixels($0, width: source.width, height: source.height), windows) }
    }

    /// Return the picture with the columns of the windows, two rows at a time.
    private func across(_ source: Pixels, _ windows: Windows) -> Plane {
        Plane.make(width: windows.count, height: source.height) { target in
            let weights = windows.fixed
            Bands.run((source.height + 1) / 2) { pairs in
                for pair in pairs {
                    // The last row of an odd number of rows is its own partner.
                    let (first, second) = (pair * 2, min(pair * 2 + 1, source.height - 1))
                    let rows = (source.row(first), source.row(second))
                    windows.apply(weights, to: target.start + first * windows.count, target.start + second * windows.count)
                    { rows.0.pixel($0) | rows.1.pixel($0) << 32 }
                }
            }
        }
    }

    /// Return the picture with the rows of the windows, four columns at a time.
    private func down(_ source: Pixels, _ windows: Windows) -> Plane {
        Plane.make(width: source.width, height: windows.count) { target in
            let weights = windows.fixed
            let blocks = source.width - source.width % 4
            Bands.run(windows.count) { indices in
                for index in indices {
                    let row = target.start + windows.target(index) * source.width
                    let items = windows.start[index]..<windows.start[index + 1]
                    let top = source.row(windows.first[index])
                    weights.withUnsafeBufferPointer { weights in
                        for x in stride(from: 0, to: blocks, by: 4) {
                            var (left, right) = (Lanes(), Lanes())
                            var place = top + x * 4
                            for item in items {
                                left.add(place.twoPixels, weights[item])
                                right.add((place + 8).twoPixels, weights[item])
                                place += source.bytesPerRow
                            }
                            (row[x], row[x + 1], row[x + 2], row[x + 3]) = (left.low, left.high, right.low, right.high)
                        }
                        for x in blocks..<source.width {
                            var sums = Lanes()
                            var place = top + x * 4
                            for item in items {
                                sums.add(place.pixel(0), weights[item])
                                place += source.bytesPerRow
                            }
                            row[x] = sums.low
                        }
                    }
                }
            }
        }
    }

    /// The first byte of a row. `resized` has checked that there are rows.
    @inline(__always)
    private func row(_ y: Int) -> UnsafeRawPointer { bytes.baseAddress! + y * bytesPerRow }

    private func bytesOf(_ plane: Plane, transposed: Bool) -> [UInt8] {
        let count = plane.width * plane.height
        return [UInt8](unsafeUninitializedCapacity: count * 4) { bytes, used in
            let memory = UnsafeMutableRawBufferPointer(bytes)
            for y in 0..<plane.height {
                for x in 0..<plane.width {
                    let pixel = plane.pixels[y * plane.width + x].littleEndian
                    let place = transposed ? x * plane.height + y : y * plane.width + x
                    memory.storeBytes(of: pixel, toByteOffset: place * 4, as: UInt32.self)
                }
            }
            used = count * 4
        }
    }
}

extension Windows {
    /// Write the weighted sums of two rows. `pixels` returns a pixel of the first row, and of the second in its high half.
    ///
    /// Where the rows shrink, a pixel lies in two windows: it is read once for both.
    @inline(__always)
    fileprivate func apply(
        _ fixed: [UInt64], to first: UnsafeMutablePointer<UInt32>, _ second: UnsafeMutablePointer<UInt32>,
        _ pixels: (Int) -> UInt64
    ) {
        fixed.withUnsafeBufferPointer { fixed in
            var open = Lanes()
            var openEnd = 0
            var openWeights = 0
            for index in 0..<count {
                let (from, end) = (self.first[index], end(index))
                let weights = start[index] - from
                let next = index + 1 < count ? self.first[index + 1] : end
                var sums = Lanes()
                var x = from
                while x < min(openEnd, next) {
                    let pair = pixels(x)
                    open.add(pair, fixed[openWeights + x])
                    sums.add(pair, fixed[weights + x])
                    x += 1
                }
                for x in x..<max(openEnd, x) { open.add(pixels(x), fixed[openWeights + x]) }
                if index > 0 {
                    first[target(index - 1)] = open.low
                    second[target(index - 1)] = open.high
                }
                while x < min(next, end) {
                    sums.add(pixels(x), fixed[weights + x])
                    x += 1
                }
                (open, openEnd, openWeights) = (sums, end, weights)
            }
            first[target(count - 1)] = open.low
            second[target(count - 1)] = open.high
        }
    }
}

extension UnsafeRawPointer {
    @inline(__always)
    fileprivate func pixel(_ index: Int) -> UInt64 {
        UInt64(UInt32(littleEndian: loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)))
    }

    @inline(__always)
    fileprivate var twoPixels: UInt64 { UInt64(littleEndian: loadUnaligned(as: UInt64.self)) }
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
