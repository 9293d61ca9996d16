// One artifact in one engine: the encoder runs once per photo, its heads on the kept features as often as asked.

/** @import {ArtifactRow, Backend, Engine, EngineModule, EngineName, Floats, LoadOptions, Progress} from '../types.d.ts' */

import {Model} from '/runtime/model.js';
import {fetchVerified} from '/runtime/store.js';
import {photoData, referenceData} from '/runtime/tensors.js';

/**
 * Download, verify and open an artifact.
 *
 * @param {LoadOptions} options
 * @param {(progress: Progress) => void} progress called during downloads
 * @returns {Promise<PhotoModel>}
 * @throws {Error} where a file is missing or damaged, or the engine refuses it
 */
export async function loadModel({row, backend, threads}, progress) {
  const wanted = new Map(); // by path: the modules of one file (LiteRT) share its download
  for (const {files} of Object.values(row.modules)) for (const file of files) wanted.set(file.path, file);
  const list = [...wanted.values()].map((file) => ({...file, url: row.base + file.path}));
  const files = await fetchVerified(list, {progress});
  const model = new PhotoModel(await startEngine(row.engine, backend, threads), row);
  for (const [name, module] of Object.entries(row.modules)) await model.open(name, module, files);
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
  engine ??= import(`/runtime/engines/${name}.js`).then((/** @type {EngineModule} */ {start}) =>
    start({npm: new URL('/npm/', location.href), backend, threads}),
  );
  return engine;
}

class PhotoModel extends Model {
  /**
   * @param {Engine} engine
   * @param {ArtifactRow} row
   */
  constructor(engine, row) {
    super(engine);
    this.row = row;
    this.facts = engine.facts;
    /** @type {Record<string, unknown>} the encoder's outputs on the device, by name */
    this.features = {};
  }

  /**
   * Run the encoder. Its features stay on the device; the features of the former photo are freed.
   *
   * @param {Uint8Array} rgb [height, width, 3] at the model's size
   */
  async encode(rgb) {
    this.releaseFeatures();
    const [port] = this.row.modules.encoder.inputs;
    const image = await this.upload(port, photoData(port, rgb));
    const features = await this.run('encoder', {[port.name]: image});
    await this.engine.synchronize(features);
    this.engine.release(image);
    this.features = features;
  }

  /**
   * Run one head on the features of the last `encode`.
   *
   * @param {string} name
   * @returns {Promise<Floats>} the head's only output, [height, width]
   */
  async head(name) {
    const results = await this.run(name, this.features);
    const [port] = this.row.modules[name].outputs;
    const values = Float32Array.from(referenceData(port, await this.engine.download(results[port.name])));
    this.release(results);
    return values;
  }

  releaseFeatures() {
    this.release(this.features);
    this.features = {};
  }

  /**
   * Free the features and close the modules.
   *
   * @override
   */
  close() {
    this.releaseFeatures();
    super.close();
  }
}
