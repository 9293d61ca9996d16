// LiteRT.js: the same .tflite file as on Android, one signature per entry. Backends: wasm, webgpu.

/** @import * as LiteRt from '@litertjs/core' */
/** @import {Backend, Engine, EngineFacts, EngineOptions, HostTensor, OpenOptions, Runner} from '../types.d.ts' */

/**
 * A compiled file that several runners share.
 *
 * @typedef {object} Shared
 * @property {number} users
 * @property {Promise<LiteRt.CompiledModel>} compiling
 * @property {LiteRt.CompiledModel} [model] once it is compiled
 */

/**
 * Start LiteRT.js.
 *
 * @param {EngineOptions} options
 * @returns {Promise<Engine<LiteRt.Tensor>>}
 * @throws {Error} where the browser lacks the backend
 */
export async function start({npm, backend, threads}) {
  if (backend === 'webgl') throw new Error('LiteRT.js has no webgl backend (has: wasm, webgpu)');
  /** @type {typeof LiteRt} */
  const litert = await import(new URL('@litertjs/core/dist/index.js', npm).href);
  const threaded = threads > 1 && Boolean(globalThis.crossOriginIsolated);
  if (backend === 'webgpu' && !(await navigator.gpu?.requestAdapter())) {
    throw new Error('the browser has no WebGPU adapter');
  }
  // In a worker the loader cannot tell where its script came from, and would look beside the worker's.
  /** @param {string} name */
  const locateFile = (name) => new URL(`@litertjs/core/wasm/${name}`, npm).href;
  if ('importScripts' in globalThis) Object.assign(globalThis, {Module: {locateFile}});
  // Waiting for a GPU inside WebAssembly needs the build with JSPI, which has no threads.
  const build = backend === 'webgpu' ? {jspi: true} : {threads: threaded};
  await litert.loadLiteRt(new URL('@litertjs/core/wasm/', npm).href, build);
  return new LiteRtEngine(litert, backend, build.threads ? threads : 1);
}

/** @implements {Engine<LiteRt.Tensor>} */
class LiteRtEngine {
  /**
   * @param {typeof LiteRt} litert
   * @param {Exclude<Backend, 'webgl'>} backend
   * @param {number} threads
   */
  constructor(litert, backend, threads) {
    this.litert = litert;
    this.backend = backend;
    /** @type {Map<string, Shared>} */
    this.models = new Map();
    /** @type {EngineFacts} */
    this.facts = {backend, threads};
  }

  /**
   * Open a signature. The signatures of one file share its compiled model, and so its weights.
   *
   * @param {OpenOptions} options
   */
  async open({file, key = file, files, signature}) {
    const shared = this.models.get(key) ?? {users: 0, compiling: this.compile(files[file])};
    this.models.set(key, shared);
    shared.users += 1;
    try {
      shared.model = await shared.compiling;
      const runner = shared.model.signatures[signature];
      if (!runner) throw new Error(`${file} has no signature ${signature}`);
      return new LiteRtRunner(this, key, runner);
    } catch (error) {
      this.leave(key);
      throw error;
    }
  }

  /** @param {ArrayBuffer} content */
  compile(content) {
    return this.litert.loadAndCompile(new Uint8Array(content), {
      accelerator: this.backend,
      cpuOptions: {numThreads: this.facts.threads},
      gpuOptions: {precision: 'fp32'},
    });
  }

  /** @param {HostTensor} tensor */
  async upload({data, shape}) {
    // float32, int32 or uint8: LiteRT.js refuses other arrays by itself.
    const tensor = new this.litert.Tensor(/** @type {LiteRt.TypedArray} */ (data), shape);
    return this.backend === 'webgpu' ? tensor.moveTo('webgpu') : tensor;
  }

  /** @param {LiteRt.Tensor} tensor */
  download(tensor) {
    return tensor.data();
  }

  /**
   * Wait for queued work. The queue is in order: when the smallest result is there, all are.
   *
   * @param {Record<string, LiteRt.Tensor>} results
   */
  async synchronize(results) {
    if (this.backend === 'wasm') return;
    /** @param {LiteRt.Tensor} tensor */
    const count = ({type}) => Array.from(type.layout.dimensions).reduce((product, size) => product * size, 1);
    await Object.values(results)
      .reduce((least, tensor) => (count(tensor) < count(least) ? tensor : least))
      .data();
  }

  /** @param {LiteRt.Tensor} tensor */
  release(tensor) {
    tensor.delete();
  }

  /**
   * Give a file up for one runner; the last one deletes its compiled model.
   *
   * @param {string} key
   */
  leave(key) {
    const shared = this.models.get(key);
    if (!shared) return;
    shared.users -= 1;
    if (shared.users) return;
    shared.model?.delete();
    this.models.delete(key);
  }
}

/** @implements {Runner<LiteRt.Tensor>} */
class LiteRtRunner {
  /**
   * @param {LiteRtEngine} engine
   * @param {string} key
   * @param {LiteRt.SignatureRunner} runner
   */
  constructor(engine, key, runner) {
    this.engine = engine;
    this.key = key;
    this.runner = runner;
  }

  /** @param {Record<string, LiteRt.Tensor>} inputs */
  async run(inputs) {
    return {...(await this.runner.run(inputs))};
  }

  close() {
    this.engine.leave(this.key);
  }
}
