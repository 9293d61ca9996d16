/// An output of the net: the reference's values in the reference's order of axes.
public struct HydraTensor: Sendable, Equatable {
    public let values: [Float]
    public let shape: [Int]
    /// The range that the model declares for its values, if it declares one.
    public let range: ClosedRange<Float>?
    /// The size of the upright photo that the output belongs to, if it belongs to one.
    public let photo: HydraSize?

    public init(values: [Float], shape: [Int], range: ClosedRange<Float>? = nil, photo: HydraSize? = nil) {
        self.values = values
        self.shape = shape
        self.range = range
        self.photo = photo
    }

    /// One channel as a map, for a tensor of shape [1, channels, height, width]; nil for another one.
    public func map(channel: Int) -> HydraMap? {
        guard shape.count == 4, shape[0] == 1, channel >= 0, channel < shape[1] else { return nil }
        let size = shape[2] * shape[3]
        let part = Array(values[channel * size..<(channel + 1) * size])
        return HydraMap(values: part, width: shape[3], height: shape[2], range: range, photo: photo)
    }
}

/// An output of one value per place of the photo, in rows from its top.
public struct HydraMap: Sendable, Equatable {
    public let values: [Float]
    public let width: Int
    public let height: Int
    /// The range that the model declares for its values, if it declares one.
    public let range: ClosedRange<Float>?
    /// The size of the upright photo that the map belongs to, if it belongs to one.
    public let photo: HydraSize?

    public init(
        values: [Float], width: Int, height: Int, range: ClosedRange<Float>? = nil, photo: HydraSize? = nil
    ) {
        precondition(values.count == width * height, "a map has one value per place")
        self.values = values
        self.width = width
        self.height = height
        self.range = range
        self.photo = photo
    }

    /// The values at another size: bilinear, antialiased where it shrinks.
    public func resized(width: Int, height: Int) throws -> [Float] {
        guard width > 0, height > 0, width.multipliedReportingOverflow(by: height).overflow == false,
            self.width > 0, self.height > 0
        else { throw HydraError.invalidSize(width: width, height: height) }
        if width == self.width, height == self.height { return values }
        let columns = Windows(from: self.width, to: width)
        let rows = Windows(from: self.height, to: height)
        let narrow = Self.across(values, rows: self.height, width: self.width, columns)
        return Self.down(narrow, width: width, rows)
    }

    /// The value at a place of the photo, whose corners are (0, 0) and (1, 1). Places outside count as the border.
    public func value(atX x: Float, y: Float) -> Float {
        let column = min(max(Int(x * Float(width)), 0), width - 1)
        let row = min(max(Int(y * Float(height)), 0), height - 1)
        return values[row * width + column]
    }

    /// The map as a grey picture, in rows of one byte: the range, or else the least to the greatest value, is 0 to 255.
    public func grey(width: Int, height: Int) throws -> [UInt8] {
        let limits = range ?? Self.limits(of: values)
        let span = limits.upperBound - limits.lowerBound
        let factor = span > 0 ? 255 / span : 0
        return try resized(width: width, height: height).map { value in
            let scaled = (value - limits.lowerBound) * factor
            return scaled.isNaN ? 0 : UInt8(min(max(scaled, 0), 255).rounded(.toNearestOrEven))
        }
    }

    static func limits(of values: [Float]) -> ClosedRange<Float> {
        var low = Float.infinity
        var high = -Float.infinity
        for value in values where value.isFinite {
            low = min(low, value)
            high = max(high, value)
        }
        return low <= high ? low...high : 0...0
    }

    private static func across(_ values: [Float], rows: Int, width: Int, _ windows: Windows) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(rows * windows.first.count)
        for y in 0..<rows {
            for index in 0..<windows.first.count {
                var sum = 0.0
                let place = y * width + windows.first[index] - windows.start[index]
                for item in windows.start[index]..<windows.start[index + 1] {
                    sum += Double(values[place + item]) * windows.weights[item]
                }
                result.append(Float(sum))
            }
        }
        return result
    }

    private static func down(_ values: [Float], width: Int, _ windows: Windows) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(width * windows.first.count)
        var sums = [Double](repeating: 0, count: width)
        for index in 0..<windows.first.count {
            for x in 0..<width { sums[x] = 0 }
            for item in windows.start[index]..<windows.start[index + 1] {
                let row = (windows.first[index] + item - windows.start[index]) * width
                let weight = windows.weights[item]
                for x in 0..<width { sums[x] += Double(values[row + x]) * weight }
            }
            for x in 0..<width { result.append(Float(sums[x])) }
        }
        return result
    }
}
