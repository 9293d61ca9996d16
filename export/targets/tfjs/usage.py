"""Write USAGE.md of a TF.js artifact. Its JavaScript runs unchanged in Node and in a browser; a test runs it."""

from __future__ import annotations

import json
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

`npm install @tensorflow/tfjs-core @tensorflow/tfjs-converter @tensorflow/tfjs-backend-wasm`

Save the module below beside this file as `hydra.mjs`. It was executed by the project's tests in Node (wasm backend).
In a browser serve this folder over HTTP, resolve the three packages by an import map or a bundler, and call
`setWasmPaths` of the wasm backend with the URL of its `.wasm` files; or import
`@tensorflow/tfjs-backend-webgl` and say `webgl` instead of `wasm`.

```js
import * as tf from '@tensorflow/tfjs-core';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import '@tensorflow/tfjs-backend-wasm';

const base = new URL('./', import.meta.url); // the folder of this artifact
const entries = $entries;

async function read(path) {
  const url = new URL(path, base);
  if (url.protocol !== 'file:') return (await fetch(url)).arrayBuffer();
  const bytes = await (await import('node:fs/promises')).readFile(url);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

const readJson = async (path) => JSON.parse(new TextDecoder().decode(await read(path)));

// In a browser, loadGraphModel(url) is enough. Node has no fetch for files, so the parts are read here.
async function load(name) {
  const file = `$${name}/model.json`;
  if (base.protocol !== 'file:') return loadGraphModel(new URL(file, base).href);
  const {weightsManifest, ...model} = await readJson(file);
  const paths = weightsManifest.flatMap((group) => group.paths);
  const shards = await Promise.all(paths.map((path) => read(`$${name}/$${path}`)));
  const weightData = await new Blob(shards).arrayBuffer();
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  return loadGraphModel({load: async () => ({...model, weightSpecs, weightData})});
}

await tf.setBackend('wasm');
await tf.ready();
const models = Object.create(null); // without the names of an object's methods

// Tensors by name in, tensors by name out. The caller disposes both.
export async function run(name, tensors) {
  models[name] ??= await load(name);
  const {inputs, outputs} = entries[name];
  const feeds = Object.fromEntries(inputs.map((input) => [input, tensors[input]]));
  const results = [models[name].execute(feeds, outputs)].flat();
  return Object.fromEntries(outputs.map((output, index) => [output, results[index]]));
}
$photo
$chain
// Compare every entry with the golden tensors: does this device compute what the reference computes?
export async function check() {
  const golden = await readJson('golden/golden.json');
  const types = {float32: Float32Array, int32: Int32Array, bool: Uint8Array};
  const values = async ({file, dtype}) => new types[dtype](await read(`golden/$${file}`));
  for (const [name, {inputs, outputs}] of Object.entries(golden.entries)) {
    const feeds = {};
    for (const [input, stored] of Object.entries(inputs)) {
      feeds[input] = tf.tensor(await values(stored), stored.shape, stored.dtype);
    }
    const results = await run(name, feeds);
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

await check();
```
"""
)

PHOTO = Template(
    """
// The whole photo, upright and in sRGB, drawn onto a canvas of $width x $height: pixels is its ImageData.
export function photoTensor(pixels) {
  const rgb = new Float32Array($height * $width * 3);
  for (let i = 0; i < $height * $width; i++) {
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = $scaled;
  }
  return tf.tensor(rgb, [1, $height, $width, 3]);
}
"""
)

CHAIN = Template(
    """
// Run module after module: the encoder once, then each head on its features.
export async function runModules(tensors) {
  const known = {...tensors};
  for (const name of $modules) Object.assign(known, await run(name, known));
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
        chain=CHAIN.substitute(modules=json.dumps(modules)) if len(modules) > 1 else "",
    )


def photo_code(port: Port) -> str:
    _, height, width, _ = port.shape
    return PHOTO.substitute(height=height, width=width, scaled=scale_code("pixels.data[4 * i + c]", port.range))


def table_rows(entry: Entry) -> list[str]:
    rows = []
    for side, ports in (("in", entry.inputs), ("out", entry.outputs)):
        for port in ports:
            limits = f"{port.range[0]:g} to {port.range[1]:g}" if port.range else ""
            cells = (f"`{entry.id}`", side, f"`{port.file_name}`", str(list(port.shape)), port.dtype, limits)
            rows.append(f"| {' | '.join(cells)} | {cell(port.description)} |")
    return rows
