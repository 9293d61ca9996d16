"""Write the body of USAGE.md: Swift for these packages, with their real names and shapes. It is not compiled here."""

from __future__ import annotations

from export.target import Emitted
from hydramobile.artifact import Entry, Port

INTRODUCTION = """\
The Swift below uses this artifact's names, shapes and types. It was generated, and not compiled here.
"""

PIXELS = """\
## Make the input

`{name}` takes the whole photo, upright, stretched to {width} x {height} pixels (width x height; no crop, no
letterbox), as 8-bit sRGB. The scaling of its bytes
to {limits} is inside the model.

```swift
import CoreImage
import CoreML

/// The whole photo in a pixel buffer of the model's size. `photo` must be upright: CIImage(contentsOf: url,
/// options: [.applyOrientationProperty: true]) applies the EXIF orientation.
func pixelBuffer(_ photo: CIImage) throws -> CVPixelBuffer {{
    var buffer: CVPixelBuffer?
    CVPixelBufferCreate(nil, {width}, {height}, kCVPixelFormatType_32BGRA, nil, &buffer)
    guard let buffer else {{ throw CocoaError(.featureUnsupported) }}
    // An antialiased reduction: a plain bilinear one costs accuracy (the report's "from pixels" row says how much).
    let scaled = photo
        .transformed(by: CGAffineTransform(translationX: -photo.extent.minX, y: -photo.extent.minY))
        .applyingFilter("CILanczosScaleTransform", parameters: [
            kCIInputScaleKey: CGFloat({height}) / photo.extent.height,
            kCIInputAspectRatioKey: (CGFloat({width}) / photo.extent.width) / (CGFloat({height}) / photo.extent.height),
        ])
    let sRGB = CGColorSpace(name: CGColorSpace.sRGB)!
    // Without colour management CIContext would work in linear light: the model was trained on sRGB values.
    let context = CIContext(options: [.workingColorSpace: sRGB])
    context.render(scaled, to: buffer, bounds: CGRect(x: 0, y: 0, width: {width}, height: {height}), colorSpace: sRGB)
    return buffer
}}
```

With Vision (`VNCoreMLRequest`) set `imageCropAndScaleOption = .scaleFill`: the default crops.
"""

LOAD_FUNCTION = """\
```swift
import CoreML

/// One function of {file} (iOS 18). Xcode compiles the package in the app's bundle to .mlmodelc.
func load(_ function: String) throws -> MLModel {{
    let configuration = MLModelConfiguration()
    configuration.functionName = function
    let url = Bundle.main.url(forResource: "{stem}", withExtension: "mlmodelc")!
    return try MLModel(contentsOf: url, configuration: configuration)
}}
```

Functions: {functions}. Equal weights are stored once, whatever is loaded.
"""

LOAD_PLAIN = """\
```swift
import CoreML

/// Xcode compiles {file} in the app's bundle to .mlmodelc.
func load() throws -> MLModel {{
    let url = Bundle.main.url(forResource: "{stem}", withExtension: "mlmodelc")!
    return try MLModel(contentsOf: url, configuration: MLModelConfiguration())
}}
```
"""

GOLDEN = """\
## Check it on the phone

`golden/golden.json` names, for every entry, the files in `golden/` that hold one sample's inputs and expected outputs
(little-endian, in the shape and type listed) and `mean_abs`, how far an output may be off on average. {image}Feed the
inputs, run the entry, compare:

```swift
func meanError(_ output: MLMultiArray, expected: [Float]) -> Float {
    // Subscripting follows the array's strides, which Core ML pads as it likes: do not read dataPointer as if packed.
    zip(0..<output.count, expected).map { abs(output[$0].floatValue - $1) }.reduce(0, +) / Float(output.count)
}
```
"""

SWIFT_KEYWORDS = frozenset((
    "Any", "as", "associatedtype", "break", "case", "catch", "class", "continue", "default", "defer", "deinit", "do",
    "else", "enum", "extension", "fallthrough", "false", "fileprivate", "for", "func", "guard", "if", "import", "in",
    "init", "inout", "internal", "is", "let", "nil", "operator", "private", "protocol", "public", "repeat", "rethrows",
    "return", "self", "static", "struct", "subscript", "super", "switch", "throw", "throws", "true", "try",
    "typealias", "var", "where", "while", "load", "photo", "pixelBuffer",
))  # fmt: skip

IMAGE_GOLDEN = "An image's bytes are rows of interleaved RGB: copy them into a BGRA pixel buffer, alpha 255. "


def usage_text(emitted: Emitted) -> str:
    """Return Markdown: the tensors, loading, the input image, running the modules in order, the golden check."""
    primary = [entry for entry in emitted.entries if not entry.variant]
    photo = next((port for entry in primary for port in entry.inputs if port.dtype == "uint8"), None)
    parts = [INTRODUCTION, tensor_table(primary), load_section(emitted, primary)]
    if photo is not None:
        _, height, width, _ = photo.shape
        limits = "[{:g}, {:g}]".format(*(photo.range or (0, 1)))
        parts.append(PIXELS.format(name=photo.file_name, height=height, width=width, limits=limits))
    parts += [run_section(primary), GOLDEN.replace("{image}", IMAGE_GOLDEN if photo is not None else "")]
    return "\n".join(parts)


def tensor_table(entries: list[Entry]) -> str:
    """Return a table with one row per tensor of each entry."""
    rows = ["## Entries", "", "| entry | side | tensor | shape | type |", "| --- | --- | --- | --- | --- |"]
    for entry in entries:
        for side, ports in (("input", entry.inputs), ("output", entry.outputs)):
            rows += [
                f"| {entry.id} | {side} | `{port.file_name}` | {shape_text(port)} | {type_text(port)} |"
                for port in ports
            ]
    return "\n".join([*rows, ""])


def shape_text(port: Port) -> str:
    if port.dtype == "uint8":
        return f"{port.shape[2]} x {port.shape[1]} (width x height)"
    return " x ".join(map(str, port.shape))


def type_text(port: Port) -> str:
    return "image, 8-bit RGB" if port.dtype == "uint8" else f"MLMultiArray, {port.dtype}"


def load_section(emitted: Emitted, primary: list[Entry]) -> str:
    """Return the section that loads the package, by function name where it has several functions."""
    first = primary[0]
    stem = first.file.rpartition("/")[2].removesuffix(".mlpackage")
    if first.function is None:
        return f"## Load it (iOS {emitted.requires['ios']})\n\n" + LOAD_PLAIN.format(file=first.file, stem=stem)
    functions = ", ".join(f"`{entry.function}`" for entry in primary)
    text = LOAD_FUNCTION.format(file=first.file, stem=stem, functions=functions)
    separate = [f"`{entry.file}`" for entry in emitted.entries if entry.variant == "separate"]
    older = (
        f"Apps for iOS {emitted.requires['ios-separate']} take the packages of one entry each instead: "
        f"{', '.join(separate)}. They hold the same tensors under the same names; load them without `functionName`.\n"
    )
    return f"## Load it (iOS {emitted.requires['ios']})\n\n{text}\n{older}"


def run_section(primary: list[Entry]) -> str:
    """Return the section that runs the entries in order. A head reads the features that the encoder returned."""
    lines = ["## Run it", "", "```swift"]
    variables: dict[str, str] = {}
    for entry in primary:
        name = identifier(entry.id)
        lines.append(f"let {name} = try load({f'{chr(34)}{entry.function}{chr(34)}' if entry.function else ''})")
        feeds = ", ".join(input_feature(port, variables) for port in entry.inputs)
        lines += [
            f"let {name}Out = try {name}.prediction(from: MLDictionaryFeatureProvider(dictionary: [{feeds}]))",
            *(
                f'let {name}_{port.name} = {name}Out.featureValue(for: "{port.file_name}")!.multiArrayValue!'
                for port in entry.outputs
            ),
            "",
        ]
        variables |= {port.name: f"{name}_{port.name}" for port in entry.outputs if port.name not in variables}
    lines[-1] = "```"
    note = (
        "Keep the encoder's features: a head run again on them costs a fraction of the whole.\n"
        if len(primary) > 1
        else ""
    )
    return "\n".join([*lines, "", note])


def input_feature(port: Port, variables: dict[str, str]) -> str:
    """Return one item of the input dictionary. `variables` holds the Swift variable of each output so far."""
    if port.dtype == "uint8":
        value = "MLFeatureValue(pixelBuffer: pixelBuffer(photo))"
    else:
        value = f"MLFeatureValue(multiArray: {variables.get(port.name, identifier(port.name))})"
    return f'"{port.file_name}": {value}'


def identifier(text: str) -> str:
    """Return `text` as a Swift identifier, with "_" behind a keyword."""
    name = "".join(char if char.isalnum() else "_" for char in text)
    return f"{name}_" if name in SWIFT_KEYWORDS else name
