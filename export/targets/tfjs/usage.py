"""Write USAGE.md of a TF.js artifact. Its JavaScript runs unchanged in Node and in a browser; a test runs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from string import Template

from export.target import Emitted
from hydramobile.artifact import Entry, Port
from hydramobile.markdown import cell
from hydramobile.preprocess import scale_code

TEXT = Template(
    """\
Graph models for [TF.js](https://www.tensorflow.org/js) $tfjs or newer: one folder per entry, with `model.json` and
the weight shards. Image-like tensors are channels last (NHWC).

| entry | | tensor | shape | dtype | range | |
| --- | --- | --- | --- | --- | --- | --- |
$rows

`hydra-mobile bundle web --model MODEL` makes an npm package of these files: types, a worker, checked
downloads, the resize.

`npm install @tensorflow/tfjs-core @tensorflow/tfjs-converter @tensorflow/tfjs-backend-wasm`

The module below was executed by the project's tests in Node (wasm backend). In a browser call `setWasmPaths` of the
wasm backend with the URL of the folder of its `.wasm` files; or import `@tensorflow/tfjs-backend-webgl` and say `webgl`
instead of `wasm`.

```js
import * as tf from '@tensorflow/tfjs-core';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import '@tensorflow/tfjs-backend-wasm';

/** @typedef {(path: string) => Promise<ArrayBuffer>} Read reads a file of this folder: by fetch, or by node:fs */

const ENTRIES = $entries;
/** @type {Map<string, Promise<import('@tensorflow/tfjs-converter').GraphModel>>} opened entries */
const models = new Map();

/** @param {Read} read */
const readJson = async (read, path) => JSON.parse(new TextDecoder().decode(await read(path)));

async function open(name, read) {
  if (tf.getBackend() !== 'wasm') await tf.setBackend('wasm');
  const {weightsManifest, ...model} = await readJson(read, `$${name}/model.json`);
  const paths = weightsManifest.flatMap((group) => group.paths);
  const shards = await Promise.all(paths.map((path) => read(`$${name}/$${path}`)));
  const weightData = await new Blob(shards).arrayBuffer();
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  return loadGraphModel({load: async () => ({...model, weightSpecs, weightData})});
}

/**
 * Run one entry, whose files are opened once. The caller disposes all tensors.
 *
 * @param {keyof typeof ENTRIES} name
 * @param {Record<string, tf.Tensor>} tensors by input
 * @param {Read} read
 * @returns {Promise<Record<string, tf.Tensor>>} by output
 */
export async function run(name, tensors, read) {
  if (!models.has(name)) models.set(name, open(name, read));
  const model = await models.get(name);
  const {inputs, outputs} = ENTRIES[name];
  const feeds = Object.fromEntries(inputs.map((input) => [input, tensors[input]]));
  const results = [model.execute(feeds, outputs)].flat();
  return Object.fromEntries(outputs.map((output, index) => [output, results[index]]));
}
$photo$map
$chain
/**
 * Compare every entry with the golden tensors: does this device compute what the reference computes?
 *
 * @param {Read} read
 * @throws {Error} where an output is off by more than is allowed
 */
export async function check(read) {
  await tf.setBackend('wasm');
  const golden = await readJson(read, 'golden/golden.json');
  const types = {float32: Float32Array, int32: Int32Array, bool: Uint8Array};
  const values = async ({file, dtype}) => new types[dtype](await read(`golden/$${file}`));
  for (const [name, {inputs, outputs}] of Object.entries(golden.entries)) {
    const feeds = {};
    for (const [input, stored] of Object.entries(inputs)) {
      feeds[input] = tf.tensor(await values(stored), stored.shape, stored.dtype);
    }
    const results = await run(name, feeds, read);
    for (const [output, stored] of Object.entries(outputs)) {
      const [result, expected] = [await results[output].data(), await values(stored)];
      const apart = (value, i) => (value === expected[i] ? 0 : Math.abs(value - expected[i]));
      const error = result.reduce((sum, value, i) => sum + apart(value, i), 0) / result.length;
      console.log(`$${name}.$${output}: mean error $${error.toExponential(2)}, allowed $${stored.mean_abs}`);
      if (!(error <= stored.mean_abs)) throw new Error(`$${name}.$${output} is not what the reference computes`);
    }
    tf.dispose([feeds, results]);
  }
}
```
"""
)

PHOTO = Template(
    """
/**
 * Return the input of a whole photo, upright and in sRGB.
 *
 * @param {ImageData} pixels of a canvas of $width x $height
 */
export function photoTensor(pixels) {
  const rgb = new Float32Array($height * $width * 3);
  for (let i = 0; i < $height * $width; i++) {
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = $scaled;
  }
  return tf.tensor(rgb, [1, $height, $width, 3]);
}
"""
)

MAP = Template(
    """
/**
 * Return a map with one channel as RGBA bytes of a grey picture: new ImageData(bytes, width, height).
 *
 * @param {ArrayLike<number>} data of `$name`, for instance
 */
export function toGrey(data, black = $black, white = $white) {
  const rgba = new Uint8ClampedArray(4 * data.length).fill(255);
  for (let i = 0; i < data.length; i++) rgba.fill((255 * (data[i] - black)) / (white - black), 4 * i, 4 * i + 3);
  return rgba;
}
"""
)

CHAIN = Template(
    """
/**
 * Run module after module: the encoder once, then each head on its features.
 *
 * @param {Record<string, tf.Tensor>} tensors
 * @param {Read} read
 */
export async function runModules(tensors, read) {
  const known = {...tensors};
  for (const name of $modules) Object.assign(known, await run(name, known, read));
  return known;
}
"""
)


def usage_text(emitted: Emitted) -> str:
    """Return the text. Photo input and chained modules are shown only where the artifact has them."""
    primary = [entry for entry in emitted.entries if not entry.variant]
    names = {
        entry.id: {
            "inputs": [port.file_name for port in entry.inputs],
            "outputs": [port.file_name for port in entry.outputs],
        }
        for entry in primary
    }
    modules = [entry.id for entry in primary if len(entry.modules) == 1]
    photos = [port for entry in primary for port in entry.inputs if port.kind == "rgb-photo"]
    return TEXT.substitute(
        tfjs=emitted.requires["tfjs"],
        rows="\n".join(row for entry in primary for row in table_rows(entry)),
        entries=json.dumps(names, indent=2),
        photo=photo_code(photos[0]) if photos else "",
        map=map_code(primary),
        chain=CHAIN.substitute(modules=json.dumps(modules)) if len(modules) > 1 else "",
    )


def photo_code(port: Port) -> str:
    _, height, width, _ = port.shape
    return PHOTO.substitute(height=height, width=width, scaled=scale_code("pixels.data[4 * i + c]", port.range))


def map_code(entries: Sequence[Entry]) -> str:
    """Return the code that draws the first output with one channel; "" without one."""
    maps = (port for entry in entries for port in entry.outputs if len(port.shape) == 4 and port.shape[::3] == (1, 1))
    port = next(maps, None)
    if port is None:
        return ""
    black, white = port.range or (0, 1)
    return MAP.substitute(name=port.file_name, black=f"{black:g}", white=f"{white:g}")


def table_rows(entry: Entry) -> list[str]:
    rows = []
    for side, ports in (("in", entry.inputs), ("out", entry.outputs)):
        for port in ports:
            limits = f"{port.range[0]:g} to {port.range[1]:g}" if port.range else ""
            cells = (f"`{entry.id}`", side, f"`{port.file_name}`", str(list(port.shape)), port.dtype, limits)
            rows.append(f"| {' | '.join(cells)} | {cell(port.description)} |")
    return rows
