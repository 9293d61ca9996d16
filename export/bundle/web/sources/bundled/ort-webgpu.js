// ONNX Runtime Web on WebGPU, by its package's name. Its .wasm file can run without a GPU, too.

/** @import {Engine, StartOptions} from '../types.d.ts' */

import * as ort from 'onnxruntime-web/webgpu';
import {create} from '../engines/ort.js';

/**
 * Start the engine.
 *
 * @param {StartOptions} options
 * @returns {Promise<Engine>}
 */
export async function start({assets, ...settings}) {
  if (assets) ort.env.wasm.wasmPaths = assets;
  return create(ort, settings);
}
