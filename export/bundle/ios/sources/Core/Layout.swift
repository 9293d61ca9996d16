/// Elements that an app gives for an input: numbers, or indices such as token ids.
package enum Elements: Sendable {
    case floats([Float])
    case integers([Int32])

    package var count: Int {
        switch self {
        case .floats(let values): return values.count
        case .integers(let values): return values.count
        }
    }
}

extension TensorPort {
    /// Call `body` with the element offset of each element in the file, in the reference's order.
    @inline(__always)
    private func forEachOffset(_ strides: [Int], _ body: (_ index: Int, _ offset: Int) -> Void) {
        let sizes = referenceShape
        let steps = axes.map { strides[$0] }
        guard let last = sizes.last, count > 0 else {
            if count > 0 { body(0, 0) }
            return
        }
        var position = Array(repeating: 0, count: sizes.count)
        var index = 0
        var offset = 0
        while index < count {
            for item in 0..<last { body(index + item, offset + item * steps[sizes.count - 1]) }
            index += last
            var axis = sizes.count - 2
            while axis >= 0 {
                position[axis] += 1
                offset += steps[axis]
                if position[axis] < sizes[axis] { break }
                offset -= position[axis] * steps[axis]
                position[axis] = 0
                axis -= 1
            }
        }
    }

    /// Return the tensor in `bytes` as the reference's values: in its order of axes, scaled back.
    ///
    /// `strides` are Core ML's, in elements; it pads rows as it likes. Throws where they reach beyond `bytes`.
    package func unpack(_ bytes: UnsafeRawBufferPointer, strides: [Int]) throws -> [Float] {
        try check(strides, bytes: bytes.count)
        var values = [Float](repeating: 0, count: count)
        let (zero, factor) = (zeroPoint, scale)
        values.withUnsafeMutableBufferPointer { values in
            func read<T>(_ type: T.Type, _ convert: (T) -> Float) {
                let size = MemoryLayout<T>.size
                forEachOffset(strides) { index, offset in
                    values[index] = convert(bytes.loadUnaligned(fromByteOffset: offset * size, as: type))
                }
            }
            switch self.type {
            case .float16: read(UInt16.self) { Half.float(UInt16(littleEndian: $0)) }
            case .float32: read(UInt32.self) { Float(bitPattern: UInt32(littleEndian: $0)) }
            case .float64: read(UInt64.self) { Float(Double(bitPattern: UInt64(littleEndian: $0))) }
            case .int32: read(Int32.self) { Float(Int32(littleEndian: $0)) }
            case .int8: read(Int8.self) { Float($0) }
            case .uint8: read(UInt8.self) { Float($0) }
            }
            if zero != 0 { for index in values.indices { values[index] -= zero } }
            if factor != 1 { for index in values.indices { values[index] /= factor } }
        }
        return values
    }

    /// Write the reference's values into `bytes`, which have the file's layout and `strides` (in elements).
    ///
    /// Throws for another number of elements, and for an index outside the range.
    package func pack(_ elements: Elements, into bytes: UnsafeMutableRawBufferPointer, strides: [Int]) throws {
        try check(elements)
        try check(strides, bytes: bytes.count)
        func write<T>(_ convert: (Int) -> T) {
            let size = MemoryLayout<T>.size
            forEachOffset(strides) { index, offset in
                bytes.storeBytes(of: convert(index), toByteOffset: offset * size, as: T.self)
            }
        }
        if case .integers(let values) = elements, type == .int32, scale == 1, zeroPoint == 0 {
            write { values[$0].littleEndian }
            return
        }
        let value: (Int) -> Float
        switch elements {
        case .floats(let values): value = { values[$0] * self.scale + self.zeroPoint }
        case .integers(let values): value = { Float(values[$0]) * self.scale + self.zeroPoint }
        }
        switch type {
        case .float16: write { Half.bits(value($0)).littleEndian }
        case .float32: write { value($0).bitPattern.littleEndian }
        case .float64: write { Double(value($0)).bitPattern.littleEndian }
        case .int32: write { Self.clamped(value($0), Int32.self).littleEndian }
        case .int8: write { Self.clamped(value($0), Int8.self) }
        case .uint8: write { Self.clamped(value($0), UInt8.self) }
        }
    }

    /// Throw where the elements cannot be this input.
    package func check(_ elements: Elements) throws {
        guard elements.count == count else {
            throw HydraError.wrongCount(input: name, expected: count, given: elements.count)
        }
        guard case .integers(let values) = elements, let range else { return }
        let bounds = Int(range.lowerBound.rounded(.up))...Int(range.upperBound.rounded(.down))
        if let value = values.first(where: { !bounds.contains(Int($0)) }) {
            throw HydraError.outOfRange(input: name, value: Int(value), range: bounds)
        }
    }

    private func check(_ strides: [Int], bytes: Int) throws {
        var reach = 0
        for (size, stride) in zip(shape, strides) { reach += (size - 1) * stride }
        guard strides.count == shape.count, strides.allSatisfy({ $0 >= 0 }), (reach + 1) * type.bytes <= bytes else {
            throw HydraError.unexpectedOutput("\(name) has \(bytes) bytes with strides \(strides) for shape \(shape)")
        }
    }

    private static func clamped<T: FixedWidthInteger>(_ value: Float, _: T.Type) -> T {
        if value.isNaN { return 0 }
        let rounded = Double(value).rounded(.toNearestOrEven)
        return T(min(max(rounded, Double(T.min)), Double(T.max)))
    }
}
