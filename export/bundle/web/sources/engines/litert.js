// LiteRT.js: the same .tflite file as on Android, one signature per entry. Backends: wasm, webgpu.

/** @import * as LiteRt from '@litertjs/core' */
/**
 * @import {
 *   Backend, Engine, EngineFacts, EngineOptions, EngineSettings, HostTensor, OpenOptions, Runner,
 * } from '../types.d.ts'
 */

import {importUrl} from './import_url.js';

/**
 * A compiled file that several runners share.
 *
 * @typedef {object} Shared
 * @property {number} users
 * @property {Promise<LiteRt.CompiledModel>} compiling
 * @property {LiteRt.CompiledModel} [model] once it is compiled
 */

/**
 * Import LiteRT.js by its URL and start it.
 *
 * @param {EngineOptions} options
 * @returns {Promise<Engine<LiteRt.Tensor>>}
 * @throws {Error} where the browser lacks the backend
 */
export async function start({npm, backend, threads}) {
  const litert = await importLiteRt(npm);
  return create(litert, {backend, threads}, (name) => new URL(`@litertjs/core/wasm/${name}`, npm).href);
}

/**
 * Import LiteRT.js by its URL. It imports a package by its bare name, which a worker cannot resolve without a server
 * that replaces the name. It is replaced here otherwise.
 *
 * @param {URL} npm
 * @returns {Promise<typeof LiteRt>}
 */
async function importLiteRt(npm) {
  try {
    return await importUrl(npm, '@litertjs/core/dist/index.js');
  } catch (error) {
    const response = await fetch(new URL('@litertjs/core/dist/index.js', npm));
    if (!response.ok) throw error;
    const utils = new URL('@litertjs/wasm-utils/dist/index.js', npm).href;
    return importText((await response.text()).replaceAll('"@litertjs/wasm-utils"', JSON.stringify(utils)));
  }
}

/**
 * Import a module by its text.
 *
 * @template Module
 * @param {string} text
 * @returns {Promise<Module>}
 */
async function importText(text) {
  const url = URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
  try {
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/**
 * Start LiteRT.js.
 *
 * @param {typeof LiteRt} litert
 * @param {EngineSettings} settings
 * @param {(name: string) => string} locate returns the URL of a file of the package's folder wasm/
 * @returns {Promise<Engine<LiteRt.Tensor>>}
 * @throws {Error} where the browser lacks the backend
 */
export async function create(litert, {backend, threads}, locate) {
  if (backend === 'webgl') throw new Error('LiteRT.js has no webgl backend (has: wasm, webgpu)');
  if (backend === 'webgpu' && !(await navigator.gpu?.requestAdapter())) {
    throw new Error('the browser has no WebGPU adapter');
  }
  const threaded = backend === 'wasm' && threads > 1 && Boolean(globalThis.crossOriginIsolated);
  const relaxed = await litert.supportsFeature('relaxedSimd');
  // Waiting for a GPU inside WebAssembly needs the build with JSPI, which has no threads. Safari has no relaxed SIMD.
  const build = backend === 'webgpu' ? '_jspi' : !relaxed ? '_compat' : threaded ? '_threaded' : '';
  const script = locate(`litert_wasm${build}_internal.js`);
  // The loader would look for its .wasm beside its script, or beside the worker's; bundlers rename files.
  Object.assign(globalThis, {Module: {locateFile: locate, mainScriptUrlOrBlob: script}});
  if ('importScripts' in globalThis) await loadInWorker(script);
  await litert.loadLiteRt(script);
  return new LiteRtEngine(litert, backend, build === '_threaded' ? threads : 1);
}

/**
 * Load the script of the WebAssembly build in a module worker, where LiteRT.js would call importScripts, which throws
 * there. In a classic worker do nothing.
 *
 * @param {string} script URL
 */
async function loadInWorker(script) {
  const scope = /** @type {{importScripts: (...urls: string[]) => void}} */ (/** @type {unknown} */ (globalThis));
  try {
    scope.importScripts();
    return;
  } catch {
    // A module worker.
  }
  const response = await fetch(script);
  if (!response.ok) throw new Error(`${script} is missing (HTTP ${response.status})`);
  // The script declares a variable of its own scope, which is the global one in a classic script only.
  await importText(`${await response.text()}\n;globalThis.ModuleFactory = ModuleFactory;`);
  scope.importScripts = () => {};
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
