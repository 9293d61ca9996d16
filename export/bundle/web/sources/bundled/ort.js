// ONNX Runtime Web in WebAssembly, by its package's name: one .wasm file.

/** @import {Engine, StartOptions} from '../types.d.ts' */

import * as ort from 'onnxruntime-web/wasm';
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
