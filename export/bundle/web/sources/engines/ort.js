// ONNX Runtime Web: one .onnx file per module. Backends: wasm, webgpu.

/** @import * as Ort from 'onnxruntime-web' */
/**
 * @import {
 *   Backend, Engine, EngineFacts, EngineOptions, EngineSettings, HostTensor, OpenOptions, Runner, TensorData,
 * } from '../types.d.ts'
 */

import {importUrl} from './import_url.js';

/** @type {Partial<Record<Backend, string>>} */
const BUNDLES = {wasm: 'onnxruntime-web/dist/ort.wasm.min.mjs', webgpu: 'onnxruntime-web/dist/ort.webgpu.min.mjs'};

/**
 * Import ONNX Runtime Web by its URL and start it.
 *
 * @param {EngineOptions} options
 * @returns {Promise<Engine<Ort.Tensor>>}
 * @throws {Error} where the browser lacks the backend
 */
export async function start({npm, backend, threads}) {
  const bundle = BUNDLES[backend];
  if (!bundle) throw new Error(`ONNX Runtime Web has no ${backend} backend here (has: ${Object.keys(BUNDLES)})`);
  /** @type {typeof Ort} */
  const ort = await importUrl(npm, bundle);
  ort.env.wasm.wasmPaths = new URL('onnxruntime-web/dist/', npm).href;
  return create(ort, {backend, threads});
}

/**
 * Start ONNX Runtime Web.
 *
 * @param {typeof Ort} ort
 * @param {EngineSettings} settings
 * @returns {Promise<Engine<Ort.Tensor>>}
 * @throws {Error} where the browser lacks the backend
 */
export async function create(ort, {backend, threads}) {
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? threads : 1;
  ort.env.logLevel = 'error';
  if (backend === 'webgpu' && !(await navigator.gpu?.requestAdapter())) {
    throw new Error('the browser has no WebGPU adapter');
  }
  return new OrtEngine(ort, backend);
}

/** @implements {Engine<Ort.Tensor>} */
class OrtEngine {
  /**
   * @param {typeof Ort} ort
   * @param {Backend} backend
   */
  constructor(ort, backend) {
    this.ort = ort;
    /** @type {EngineFacts} */
    this.facts = {
      'onnxruntime-web': ort.env.versions.web ?? ort.env.versions.common,
      backend,
      threads: ort.env.wasm.numThreads ?? 1,
    };
  }

  /** @param {OpenOptions} options */
  async open({file, files, outputs}) {
    const {backend} = this.facts;
    const session = await this.ort.InferenceSession.create(new Uint8Array(files[file]), {
      executionProviders: [backend],
      preferredOutputLocation: backend === 'webgpu' ? 'gpu-buffer' : 'cpu',
    });
    return new OrtRunner(session, outputs);
  }

  /** @param {HostTensor} tensor */
  upload({data, shape, dtype}) {
    return new this.ort.Tensor(dtype, data, shape);
  }

  /**
   * Fetch a tensor's elements, from the GPU too.
   *
   * @param {Ort.Tensor} tensor
   */
  async download(tensor) {
    return /** @type {TensorData} */ (await tensor.getData());
  }

  /**
   * Wait for queued work. The queue is in order: when the smallest result is there, all are.
   *
   * @param {Record<string, Ort.Tensor>} results
   */
  async synchronize(results) {
    if (this.facts.backend === 'wasm') return;
    await Object.values(results)
      .reduce((least, tensor) => (tensor.size < least.size ? tensor : least))
      .getData();
  }

  /** @param {Ort.Tensor} tensor */
  release(tensor) {
    tensor.dispose();
  }
}

/** @implements {Runner<Ort.Tensor>} */
class OrtRunner {
  /**
   * @param {Ort.InferenceSession} session
   * @param {string[]} outputs
   */
  constructor(session, outputs) {
    this.session = session;
    this.outputs = outputs;
  }

  /** @param {Record<string, Ort.Tensor>} inputs */
  async run(inputs) {
    return {...(await this.session.run(inputs, this.outputs))};
  }

  close() {
    this.session.release();
  }
}
