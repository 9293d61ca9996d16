// Runs the plain Swift of the package on files that the tests write. Each line of standard input is one command:
//
//   resize IN width height bytesPerRow orientation toWidth toHeight OUT     bytes to bytes; prints milliseconds of the clock and of the
//                             processors
//   floats IN OUT             float16 bits to float32
//   halves IN OUT             float32 to float16 bits
//   unpack IN type shape strides axes scale zero OUT     bytes of a file's tensor to float32
//   pack IN type shape strides axes scale zero low high OUT     float32 (or int32 for int32 ports) to bytes
//   grey IN width height low high toWidth toHeight OUT     a map to bytes; low = high: no range
//   map IN width height toWidth toHeight OUT     a map to float32 at another size

import Foundation
import HydraCore

struct Words {
    var words: [String]

    mutating func text() -> String { words.removeFirst() }
    mutating func int() -> Int { Int(words.removeFirst())! }
    mutating func float() -> Float { Float(words.removeFirst())! }
    mutating func ints() -> [Int] {
        let text = words.removeFirst()
        return text == "-" ? [] : text.split(separator: ",").map { Int($0)! }
    }
    mutating func bytes() throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: words.removeFirst()))) }
    mutating func array<T>(_ type: T.Type) throws -> [T] {
        try bytes().withUnsafeBytes { raw in
            (0..<raw.count / MemoryLayout<T>.size).map {
                raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: type)
            }
        }
    }
    mutating func write<T>(_ values: [T]) throws {
        try values.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: words.removeFirst())) }
    }
}

func port(_ words: inout Words) -> (TensorPort, [Int]) {
    let type = ElementType(rawValue: words.text())!
    let shape = words.ints()
    let strides = words.ints()
    let axes = words.ints()
    let (scale, zero) = (words.float(), words.float())
    return (TensorPort("x", file: "x", shape: shape, type: type, axes: axes, scale: scale, zeroPoint: zero), strides)
}

func execute(_ line: String) throws {
    var words = Words(words: line.split(separator: " ").map(String.init))
    switch words.text() {
    case "resize":
        let bytes = try words.bytes()
        let (width, height, row, orientation) = (words.int(), words.int(), words.int(), words.int())
        let (toWidth, toHeight) = (words.int(), words.int())
        let start = (DispatchTime.now().uptimeNanoseconds, clock())
        let result = try bytes.withUnsafeBytes {
            try Pixels($0, width: width, height: height, bytesPerRow: row, orientation: orientation)
                .resized(width: toWidth, height: toHeight)
        }
        let wall = Double(DispatchTime.now().uptimeNanoseconds - start.0) / 1e6
        print(wall, Double(clock() - start.1) / 1e3)
        try words.write(result)
    case "floats":
        let bits = try words.array(UInt16.self)
        try words.write(bits.map(Half.float))
    case "halves":
        let values = try words.array(Float.self)
        try words.write(values.map(Half.bits))
    case "unpack":
        let bytes = try words.bytes()
        let (port, strides) = port(&words)
        try words.write(try bytes.withUnsafeBytes { try port.unpack($0, strides: strides) })
    case "pack":
        let path = words.text()
        let (plain, strides) = port(&words)
        let (low, high) = (words.float(), words.float())
        let port = TensorPort(
            "x", file: "x", shape: plain.shape, type: plain.type, axes: plain.axes, scale: plain.scale,
            zeroPoint: plain.zeroPoint, range: low < high ? low...high : nil)
        var input = Words(words: [path])
        let integers = plain.type == ElementType.int32 && plain.scale == 1
        let elements = try integers ? Elements.integers(input.array(Int32.self)) : .floats(input.array(Float.self))
        var reach = 1
        for (size, stride) in zip(port.shape, strides) { reach += (size - 1) * stride }
        var result = [UInt8](repeating: 0, count: reach * port.type.bytes)
        try result.withUnsafeMutableBytes { try port.pack(elements, into: $0, strides: strides) }
        try words.write(result)
    case "grey", "map":
        let grey = line.hasPrefix("grey")
        let values = try words.array(Float.self)
        let (width, height) = (words.int(), words.int())
        let (low, high) = grey ? (words.float(), words.float()) : (0, 0)
        let map = HydraMap(values: values, width: width, height: height, range: low < high ? low...high : nil)
        let (toWidth, toHeight) = (words.int(), words.int())
        if grey {
            try words.write(try map.grey(width: toWidth, height: toHeight))
        } else {
            try words.write(try map.resized(width: toWidth, height: toHeight))
        }
    default:
        fatalError("no such command: \(line)")
    }
}

while let line = readLine() {
    do {
        try execute(line)
    } catch let error as HydraError {
        print("error: \(error.errorDescription!)")
    }
}
