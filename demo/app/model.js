// One artifact in one engine: the encoder runs once per photo, its heads on the kept features as often as asked.

/**
 * @import {
 *   ArtifactRow, Backend, Engine, EngineModule, EngineName, Floats, LoadOptions, Port, Progress, Runner, TensorData,
 * } from '../types.d.ts'
 */

import {fetchVerified} from './store.js';

const ARRAYS = {float32: Float32Array, int32: Int32Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array};

/**
 * Download, verify and open an artifact.
 *
 * @param {LoadOptions} options
 * @param {(progress: Progress) => void} onProgress
 * @returns {Promise<Model>}
 * @throws {Error} where a file is missing or damaged, or the engine refuses it
 */
export async function loadModel({row, backend, threads}, onProgress) {
  const wanted = new Map(); // by path: the modules of one file (LiteRT) share its download
  for (const {files} of Object.values(row.modules)) for (const file of files) wanted.set(file.path, file);
  const list = [...wanted.values()].map((file) => ({...file, url: row.base + file.path}));
  const files = await fetchVerified(list, onProgress);
  const model = new Model(await startEngine(row.engine, backend, threads), row);
  for (const name of Object.keys(row.modules)) await model.open(name, files);
  return model;
}

// A worker has one engine. Two artifacts that are compared share it.
/** @type {Promise<Engine> | undefined} */
let engine;

/**
 * Start the worker's engine, once.
 *
 * @param {EngineName} name
 * @param {Backend} backend
 * @param {number} threads
 * @returns {Promise<Engine>}
 */
function startEngine(name, backend, threads) {
  engine ??= import(`../engines/${name}.js`).then((/** @type {EngineModule} */ {start}) =>
    start({npm: new URL('/npm/', location.href), backend, threads}),
  );
  return engine;
}

class Model {
  /**
   * @param {Engine} engine
   * @param {ArtifactRow} row
   */
  constructor(engine, row) {
    this.engine = engine;
    this.row = row;
    this.facts = engine.facts;
    /** @type {Record<string, Runner<unknown>>} by module */
    this.runners = {};
    /** @type {Record<string, unknown>} the encoder's outputs on the device, by name */
    this.features = {};
  }

  /**
   * Open one module.
   *
   * @param {string} name
   * @param {Record<string, ArrayBuffer>} files
   */
  async open(name, files) {
    const {file, signature, outputs} = this.row.modules[name];
    const outputNames = outputs.map((port) => port.file_name);
    this.runners[name] = await this.engine.open({file, files, signature, outputs: outputNames});
  }

  /**
   * Run the encoder. Its features stay on the device; the features of the former photo are freed.
   *
   * @param {Uint8Array} rgb [height, width, 3] at the model's size
   */
  async encode(rgb) {
    this.releaseFeatures();
    const {inputs, outputs} = this.row.modules.encoder;
    const [port] = inputs;
    const image = await this.engine.upload({data: fileData(port, rgb), shape: port.shape, dtype: port.dtype});
    const results = await this.runners.encoder.run({[port.file_name]: image});
    await this.engine.synchronize(results);
    this.engine.release(image);
    for (const {name, file_name} of outputs) this.features[name] = results[file_name];
  }

  /**
   * Run one head on the features of the last `encode`.
   *
   * @param {string} name
   * @returns {Promise<Floats>} the head's only output, [height, width]
   */
  async head(name) {
    const {inputs, outputs} = this.row.modules[name];
    const features = inputs.map((port) => [port.file_name, this.features[port.name]]);
    const results = await this.runners[name].run(Object.fromEntries(features));
    const [port] = outputs;
    const values = referenceData(port, await this.engine.download(results[port.file_name]));
    for (const tensor of Object.values(results)) this.engine.release(tensor);
    return values;
  }

  releaseFeatures() {
    for (const tensor of Object.values(this.features)) this.engine.release(tensor);
    this.features = {};
  }

  close() {
    this.releaseFeatures();
    for (const runner of Object.values(this.runners)) runner.close();
  }
}

/**
 * Convert a photo's bytes to the file's input: layout, scale and dtype are the port's.
 *
 * @param {Port} port
 * @param {Uint8Array} rgb [height, width, 3]
 * @returns {TensorData}
 */
function fileData(port, rgb) {
  const planar = port.layout === 'NCHW';
  const pixels = rgb.length / 3;
  const result = new ARRAYS[port.dtype](rgb.length);
  const round = port.dtype === 'float32' ? (/** @type {number} */ value) => value : Math.round;
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = round((rgb[pixel * 3 + channel] / 255) * port.scale + port.zero_point);
      result[planar ? channel * pixels + pixel : pixel * 3 + channel] = value;
    }
  }
  return result;
}

/**
 * Convert the elements of an output in the file to the reference's.
 *
 * @param {Port} port
 * @param {TensorData} data
 * @returns {Floats}
 */
function referenceData(port, data) {
  return Float32Array.from(data, (value) => (value - port.zero_point) / port.scale);
}
