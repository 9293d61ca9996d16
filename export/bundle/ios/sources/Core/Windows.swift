/// The triangle filter of a bilinear resize along one axis: for each target index the first source index and weights.
///
/// It is Pillow's BILINEAR (src/libImaging/Resample.c): where the axis shrinks, the triangle spans the source elements
/// of two target elements, so that nothing is skipped.
package struct Windows: Sendable {
    /// The bits of Pillow's fixed-point weights.
    static let bits: UInt64 = 22

    /// The windows in ascending order of the source.
    package let first: [Int]
    package let start: [Int]
    /// The weights of all windows; window `index` has `weights[start[index]..<start[index + 1]]`.
    package let weights: [Double]
    private let flipped: Bool

    /// `flipped` reads the axis from its end.
    package init(from source: Int, to target: Int, flipped: Bool = false) {
        let scale = Double(source) / Double(target)
        let reach = max(scale, 1)
        let inverse = 1 / reach
        var first: [Int] = []
        var start = [0]
        var weights: [Double] = []
        for position in 0..<target {
            let center = (Double(flipped ? target - 1 - position : position) + 0.5) * scale
            let low = max(Int(center - reach + 0.5), 0)
            let high = min(Int(center + reach + 0.5), source)
            var window = (low..<high).map { max(1 - abs((Double($0) - center + 0.5) * inverse), 0) }
            let total = window.reduce(0, +)
            if total != 0 { for item in window.indices { window[item] /= total } }
            first.append(flipped ? source - high : low)
            weights += flipped ? window.reversed() : window
            start.append(weights.count)
        }
        self.first = first
        self.start = start
        self.weights = weights
        self.flipped = flipped
    }

    var count: Int { first.count }

    /// The source index behind a window.
    func end(_ index: Int) -> Int { first[index] + start[index + 1] - start[index] }

    /// The target index of a window.
    func target(_ index: Int) -> Int { flipped ? count - 1 - index : index }

    /// The weights as Pillow rounds them for bytes.
    var fixed: [UInt64] { weights.map { UInt64(0.5 + $0 * Double(1 << Self.bits)) } }
}
