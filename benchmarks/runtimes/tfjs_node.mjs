// Run TF.js graph models for benchmarks/runtimes/tfjs_node.py: answer requests in sequence until stdin ends.
//
// A message, in both directions, is two little-endian uint32 (bytes of JSON, bytes of tensors), the JSON, the tensors.
// Requests: {do: "open", file, threads, outputs} | {do: "bind", tensors} | {do: "invoke"} | {do: "fetch"}.
// Tensors are described as {name, shape, dtype}; their raw little-endian elements follow each other.

/** @import {GraphModel} from '@tensorflow/tfjs-converter' */
/** @import {io, Tensor} from '@tensorflow/tfjs-core' */

import {readFileSync, writeSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';

/** @typedef {'float32' | 'int32' | 'bool'} Dtype */
/** @typedef {{name: string, shape: number[], dtype: Dtype}} Description */
/** @typedef {Float32Array | Int32Array | Uint8Array} TensorData */
/** @typedef {Omit<Description, 'dtype'> & {dtype: string, values: TensorData}} Result */
/** @typedef {{seconds: number, results: Result[]}} Run */
/** @typedef {{payload?: Buffer, [key: string]: unknown}} Answer */

// stdout carries messages only.
console.log = console.info = console.debug = console.warn = console.error;

const require = createRequire(import.meta.url);
/** @type {typeof import('@tensorflow/tfjs-core')} */
const tf = require('@tensorflow/tfjs-core');
/** @type {typeof import('@tensorflow/tfjs-converter')} */
const {loadGraphModel} = require('@tensorflow/tfjs-converter');
require('@tensorflow/tfjs-backend-cpu');
/** @type {typeof import('@tensorflow/tfjs-backend-wasm')} */
const wasm = require('@tensorflow/tfjs-backend-wasm');

const ARRAYS = {float32: Float32Array, int32: Int32Array, bool: Uint8Array};
const HEADER_BYTES = 8;

const state = {
  /** @type {GraphModel | null} */
  model: null,
  file: '',
  /** @type {string[]} */
  outputs: [],
  /** @type {Record<string, Tensor>} */
  inputs: {},
  /** @type {Result[]} of the last run */
  results: [],
  /** Why another backend than wasm computes; '' while wasm does. */
  fallback: '',
};

/**
 * Return an IO handler that reads the files of a graph model from disk, without an HTTP server and without changes.
 *
 * @param {string} file path of model.json
 * @returns {io.IOHandler}
 */
function handler(file) {
  return {
    load: async () => {
      /** @type {io.ModelJSON} */
      const {modelTopology, weightsManifest, ...rest} = JSON.parse(readFileSync(file, 'utf8'));
      const paths = weightsManifest.flatMap((group) => group.paths);
      const data = Buffer.concat(paths.map((path) => readFileSync(join(dirname(file), path))));
      const weightData = sliceOf(data, 0, data.byteLength);
      return {modelTopology, weightSpecs: weightsManifest.flatMap((group) => group.weights), weightData, ...rest};
    },
  };
}

/**
 * Copy part of a buffer.
 *
 * @param {Buffer} data
 * @param {number} start
 * @param {number} end
 * @returns {ArrayBuffer}
 */
function sliceOf(data, start, end) {
  return /** @type {ArrayBuffer} */ (data.buffer.slice(data.byteOffset + start, data.byteOffset + end));
}

function disposeInputs() {
  for (const tensor of Object.values(state.inputs)) tensor.dispose();
  state.inputs = {};
}

/**
 * Load the model on a backend.
 *
 * @param {'wasm' | 'cpu'} backend
 */
async function load(backend) {
  state.model?.dispose();
  disposeInputs();
  if (!(await tf.setBackend(backend))) throw new Error(`the ${backend} backend did not start`);
  await tf.ready();
  state.model = await loadGraphModel(handler(state.file));
}

/**
 * Open a model on the wasm backend.
 *
 * @param {{file: string, threads: number, outputs: string[]}} request
 * @returns {Promise<Answer>}
 */
async function open({file, threads, outputs}) {
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', threads > 1);
  if (threads > 1) wasm.setThreadsCount(threads);
  Object.assign(state, {file, outputs, results: [], fallback: ''});
  await load('wasm');
  return facts();
}

/** Describe the backend that computes. */
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

/**
 * Set the inputs.
 *
 * @param {{tensors: Description[]}} request
 * @param {Buffer} payload
 * @returns {Answer}
 */
function bind({tensors}, payload) {
  disposeInputs();
  let start = 0;
  for (const {name, shape, dtype} of tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    const end = start + count * ARRAYS[dtype].BYTES_PER_ELEMENT;
    state.inputs[name] = tf.tensor(new ARRAYS[dtype](sliceOf(payload, start, end)), shape, dtype);
    start = end;
  }
  return {};
}

/**
 * Run the model once, until the values of all outputs are there.
 *
 * @returns {Promise<Run>}
 */
async function execute() {
  if (!state.model) throw new Error('no model is open');
  const started = performance.now();
  const tensors = [state.model.execute(state.inputs, state.outputs)].flat();
  const values = await Promise.all(tensors.map((tensor) => tensor.data()));
  const seconds = (performance.now() - started) / 1000;
  const results = tensors.map(({shape, dtype}, index) => ({
    name: state.outputs[index],
    shape,
    dtype,
    values: values[index],
  }));
  // An input that is handed through as an output stays an input.
  const inputIds = new Set(Object.values(state.inputs).map((tensor) => tensor.id));
  for (const tensor of tensors) if (!inputIds.has(tensor.id)) tensor.dispose();
  return {seconds, results};
}

/**
 * Run the model; if wasm lacks one of its kernels, switch to the cpu backend for good.
 *
 * @returns {Promise<Answer>}
 */
async function invoke() {
  let run;
  try {
    run = await execute();
  } catch (error) {
    // Switch backends only for a kernel that wasm lacks; every other error is a failure.
    const missing = /Kernel '(\w+)' not registered for backend 'wasm'/.exec(messageOf(error));
    if (!missing || tf.getBackend() !== 'wasm') throw error;
    state.fallback = `wasm has no kernel ${missing[1]}`;
    const inputs = Object.entries(state.inputs).map(([name, tensor]) => {
      const {shape, dtype} = tensor;
      return {name, values: tensor.dataSync(), shape, dtype};
    });
    await load('cpu');
    for (const {name, values, shape, dtype} of inputs) state.inputs[name] = tf.tensor(values, shape, dtype);
    run = await execute();
  }
  state.results = run.results;
  return {seconds: run.seconds, ...facts()};
}

/**
 * Return the outputs of the last run.
 *
 * @returns {Answer}
 */
function fetchResults() {
  const payload = state.results.map(({values}) => Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  return {
    tensors: state.results.map(({name, shape, dtype}) => ({name, shape, dtype})),
    payload: Buffer.concat(payload),
  };
}

/**
 * Write one message to stdout, synchronously.
 *
 * @param {Answer} answer
 */
function send({payload = Buffer.alloc(0), ...content}) {
  const text = Buffer.from(JSON.stringify(content));
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(text.length, 0);
  header.writeUInt32LE(payload.length, 4);
  let rest = Buffer.concat([header, text, payload]);
  while (rest.length) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      // EAGAIN: the pipe is full; try again.
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EAGAIN') throw error;
    }
  }
}

/**
 * Return the message of a thrown value. Libraries also throw values that are not an Error.
 *
 * @param {unknown} thrown
 */
const messageOf = (thrown) => String(/** @type {{message?: string}} */ (Object(thrown)).message ?? thrown);

/** @typedef {(request: never, payload: Buffer) => Answer | Promise<Answer>} Action */
/** @type {Record<string, Action>} */
const ACTIONS = {open, bind, invoke, fetch: fetchResults};

/**
 * Run the action of a request and answer it.
 *
 * @param {{do: string}} request whose other members are the action's: tfjs_node.py sends them
 * @param {Buffer} payload
 */
async function answer(request, payload) {
  try {
    send({ok: true, ...(await ACTIONS[request.do](/** @type {never} */ (request), payload))});
  } catch (error) {
    send({ok: false, error: messageOf(error)});
  }
}

let waiting = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  waiting = Buffer.concat([waiting, chunk]);
  while (waiting.length >= HEADER_BYTES) {
    const text = waiting.readUInt32LE(0);
    const end = HEADER_BYTES + text + waiting.readUInt32LE(4);
    if (waiting.length < end) break;
    const message = waiting.subarray(HEADER_BYTES, end);
    waiting = waiting.subarray(end);
    await answer(JSON.parse(message.subarray(0, text).toString()), message.subarray(text));
  }
}
