// Runs TF.js graph models for benchmarks/runtimes/tfjs_node.py, one request after the other, until stdin ends.
//
// A message, in both directions: two little-endian uint32 (bytes of JSON, bytes of tensors), the JSON, the tensors.
// Requests: {do: "open", file, threads, outputs} | {do: "bind", tensors} | {do: "invoke"} | {do: "fetch"}.
// A tensor is described as {name, shape, dtype}; their raw little-endian values follow each other.

import {readFileSync, writeSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';

// stdout carries messages only.
console.log = console.info = console.debug = console.warn = console.error;

const require = createRequire(import.meta.url);
const tf = require('@tensorflow/tfjs-core');
const {loadGraphModel} = require('@tensorflow/tfjs-converter');
require('@tensorflow/tfjs-backend-cpu');
const wasm = require('@tensorflow/tfjs-backend-wasm');

const VALUES = {float32: Float32Array, int32: Int32Array, bool: Uint8Array};
const state = {model: null, file: '', outputs: [], inputs: {}, results: [], fallback: ''};

// The files as they are: no HTTP server, and no reading of them that a browser would not do.
function handler(file) {
  return {
    load: async () => {
      const {modelTopology, weightsManifest, ...rest} = JSON.parse(readFileSync(file, 'utf8'));
      const shards = weightsManifest
        .flatMap((group) => group.paths)
        .map((path) => readFileSync(join(dirname(file), path)));
      const data = Buffer.concat(shards);
      const weightData = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
      return {modelTopology, weightSpecs: weightsManifest.flatMap((group) => group.weights), weightData, ...rest};
    },
  };
}

async function load(backend) {
  state.model?.dispose();
  Object.values(state.inputs).forEach((tensor) => tensor.dispose());
  state.inputs = {};
  if (!(await tf.setBackend(backend))) throw new Error(`the ${backend} backend did not start`);
  await tf.ready();
  state.model = await loadGraphModel(handler(state.file));
}

async function open({file, threads, outputs}) {
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', threads > 1);
  if (threads > 1) wasm.setThreadsCount(threads);
  Object.assign(state, {file, outputs, results: [], fallback: ''});
  await load('wasm');
  return facts();
}

function facts() {
  const backend = tf.getBackend();
  return {
    tfjs: tf.version_core,
    node: process.version,
    backend,
    simd: backend === 'wasm' && Boolean(tf.env().get('WASM_HAS_SIMD_SUPPORT')),
    threads: backend === 'wasm' && tf.env().get('WASM_HAS_MULTITHREAD_SUPPORT') ? wasm.getThreadsCount() : 1,
    fallback: state.fallback,
  };
}

function bind({tensors}, payload) {
  Object.values(state.inputs).forEach((tensor) => tensor.dispose());
  state.inputs = {};
  let start = 0;
  for (const {name, shape, dtype} of tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    const bytes = count * VALUES[dtype].BYTES_PER_ELEMENT;
    const values = new VALUES[dtype](
      payload.buffer.slice(payload.byteOffset + start, payload.byteOffset + start + bytes),
    );
    state.inputs[name] = tf.tensor(values, shape, dtype);
    start += bytes;
  }
  return {};
}

async function execute() {
  const started = performance.now();
  const made = [state.model.execute(state.inputs, state.outputs)].flat();
  const values = await Promise.all(made.map((tensor) => tensor.data()));
  const seconds = (performance.now() - started) / 1000;
  const results = made.map((tensor, index) => ({
    name: state.outputs[index],
    shape: tensor.shape,
    dtype: tensor.dtype,
    values: values[index],
  }));
  // An input handed through as an output stays ours.
  const ours = new Set(Object.values(state.inputs).map((tensor) => tensor.id));
  made.filter((tensor) => !ours.has(tensor.id)).forEach((tensor) => tensor.dispose());
  return {seconds, results};
}

async function invoke() {
  let done;
  try {
    done = await execute();
  } catch (error) {
    // Only a kernel that this backend lacks is a reason to take the other one; anything else is a failure.
    const missing = /Kernel '(\w+)' not registered for backend 'wasm'/.exec(error.message);
    if (!missing || tf.getBackend() !== 'wasm') throw error;
    state.fallback = `wasm has no kernel ${missing[1]}`;
    const kept = Object.entries(state.inputs).map(([name, tensor]) => [
      name,
      tensor.dataSync(),
      tensor.shape,
      tensor.dtype,
    ]);
    await load('cpu');
    for (const [name, values, shape, dtype] of kept) state.inputs[name] = tf.tensor(values, shape, dtype);
    done = await execute();
  }
  state.results = done.results;
  return {seconds: done.seconds, ...facts()};
}

function fetchResults() {
  const payload = state.results.map(({values}) => Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  return {
    tensors: state.results.map(({name, shape, dtype}) => ({name, shape, dtype})),
    payload: Buffer.concat(payload),
  };
}

function send({payload = Buffer.alloc(0), ...content}) {
  const text = Buffer.from(JSON.stringify(content));
  const head = Buffer.alloc(8);
  head.writeUInt32LE(text.length, 0);
  head.writeUInt32LE(payload.length, 4);
  let rest = Buffer.concat([head, text, payload]);
  while (rest.length) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

const ACTIONS = {open, bind, invoke, fetch: fetchResults};

async function answer(request, payload) {
  try {
    send({ok: true, ...(await ACTIONS[request.do](request, payload))});
  } catch (error) {
    send({ok: false, error: String(error.message ?? error)});
  }
}

let waiting = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  waiting = Buffer.concat([waiting, chunk]);
  while (waiting.length >= 8) {
    const text = waiting.readUInt32LE(0);
    const end = 8 + text + waiting.readUInt32LE(4);
    if (waiting.length < end) break;
    const message = waiting.subarray(0, end);
    waiting = waiting.subarray(end);
    await answer(JSON.parse(message.subarray(8, 8 + text).toString()), message.subarray(8 + text));
  }
}
