// TF.js: graph models (model.json and its shards). Backends: wasm, webgl, webgpu.

/** @import * as Core from '@tensorflow/tfjs-core' */
/** @import * as Converter from '@tensorflow/tfjs-converter' */
/** @import * as Wasm from '@tensorflow/tfjs-backend-wasm' */
/**
 * @import {
 *   Backend, Engine, EngineFacts, EngineOptions, EngineSettings, HostTensor, OpenOptions, Runner, TensorData,
 * } from '../types.d.ts'
 */

import {importUrl} from './import_url.js';

/**
 * TF.js, from its packages or from globalThis.tf, which the bundles set.
 *
 * @typedef {Pick<typeof Core, 'clone' | 'env' | 'ready' | 'setBackend' | 'tensor'> & {version_core: string} &
 *   Pick<typeof Converter, 'loadGraphModel'> & {wasm: Pick<typeof Wasm, 'getThreadsCount' | 'setThreadsCount' |
 *   'setWasmPaths'>}} Tf
 */
/** @typedef {Core.Tensor} Tensor */

/** @type {Record<Backend, string>} */
const SCRIPTS = {
  wasm: '@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js',
  webgl: '@tensorflow/tfjs-backend-webgl/dist/tf-backend-webgl.min.js',
  webgpu: '@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js',
};

/**
 * Import TF.js by its URL and start it.
 *
 * @param {EngineOptions} options
 * @returns {Promise<Engine<Tensor>>}
 * @throws {Error} where the backend does not start
 */
export async function start({npm, backend, threads}) {
  await importUrl(npm, '@tensorflow/tfjs-core/dist/tf-core.min.js');
  await importUrl(npm, '@tensorflow/tfjs-converter/dist/tf-converter.min.js');
  await importUrl(npm, SCRIPTS[backend]);
  const {tf} = /** @type {{tf: Tf}} */ (/** @type {unknown} */ (globalThis));
  if (backend === 'wasm') tf.wasm.setWasmPaths(new URL('@tensorflow/tfjs-backend-wasm/dist/', npm).href);
  return create(tf, {backend, threads});
}

/**
 * Start TF.js.
 *
 * @param {Tf} tf
 * @param {EngineSettings} settings
 * @returns {Promise<Engine<Tensor>>}
 * @throws {Error} where the backend does not start
 */
export async function create(tf, {backend, threads}) {
  if (backend === 'wasm') {
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', threads > 1 && Boolean(globalThis.crossOriginIsolated));
    if (threads > 1) tf.wasm.setThreadsCount(threads);
  }
  if (!(await tf.setBackend(backend))) throw new Error(`the ${backend} backend of TF.js did not start`);
  await tf.ready();
  return new TfjsEngine(tf, backend);
}

/** @implements {Engine<Tensor>} */
class TfjsEngine {
  /**
   * @param {Tf} tf
   * @param {Backend} backend
   */
  constructor(tf, backend) {
    this.tf = tf;
    const wasm = backend === 'wasm';
    /** @type {EngineFacts} */
    this.facts = {
      tfjs: tf.version_core,
      backend,
      simd: wasm && Boolean(tf.env().get('WASM_HAS_SIMD_SUPPORT')),
      threads: wasm && tf.env().get('WASM_HAS_MULTITHREAD_SUPPORT') ? tf.wasm.getThreadsCount() : 1,
    };
  }

  /** @param {OpenOptions} options */
  async open({file, files, outputs}) {
    const folder = file.slice(0, file.lastIndexOf('/') + 1);
    /** @type {Core.io.ModelJSON} */
    const {modelTopology, weightsManifest, ...rest} = JSON.parse(new TextDecoder().decode(files[file]));
    const shards = weightsManifest.flatMap((group) => group.paths).map((path) => files[folder + path]);
    const weightData = await new Blob(shards).arrayBuffer();
    const weightSpecs = weightsManifest.flatMap((group) => group.weights);
    const handler = {load: async () => ({modelTopology, weightSpecs, weightData, ...rest})};
    return new TfjsRunner(this.tf, await this.tf.loadGraphModel(handler), outputs);
  }

  /** @param {HostTensor} tensor */
  upload({data, shape, dtype}) {
    if (data instanceof BigInt64Array) throw new Error('TF.js has no int64 tensors');
    return this.tf.tensor(data, shape, /** @type {Core.DataType} */ (dtype));
  }

  /**
   * @param {Tensor} tensor
   * @returns {Promise<TensorData>}
   */
  download(tensor) {
    return tensor.data();
  }

  /**
   * Wait for queued work. The queue is in order: when the smallest result is there, all are.
   *
   * @param {Record<string, Tensor>} results
   */
  async synchronize(results) {
    if (this.facts.backend === 'wasm') return;
    await Object.values(results)
      .reduce((least, tensor) => (tensor.size < least.size ? tensor : least))
      .data();
  }

  /** @param {Tensor} tensor */
  release(tensor) {
    tensor.dispose();
  }
}

/** @implements {Runner<Tensor>} */
class TfjsRunner {
  /**
   * @param {Tf} tf
   * @param {Converter.GraphModel} graph
   * @param {string[]} outputs
   */
  constructor(tf, graph, outputs) {
    this.tf = tf;
    this.graph = graph;
    this.outputs = outputs;
  }

  /**
   * Run the graph. An input that is handed through as an output is cloned: both are released.
   *
   * @param {Record<string, Tensor>} inputs
   * @returns {Promise<Record<string, Tensor>>}
   */
  async run(inputs) {
    const results = [this.graph.execute(inputs, this.outputs)].flat();
    const inputIds = new Set(Object.values(inputs).map((tensor) => tensor.id));
    return Object.fromEntries(
      results.map((tensor, index) => [this.outputs[index], inputIds.has(tensor.id) ? this.tf.clone(tensor) : tensor]),
    );
  }

  close() {
    this.graph.dispose();
  }
}
