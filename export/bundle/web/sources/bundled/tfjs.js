// TF.js in WebAssembly, by its packages' names.

/** @import {Engine, StartOptions} from '../types.d.ts' */

import {getThreadsCount, setThreadsCount, setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import {clone, env, ready, setBackend, tensor, version_core} from '@tensorflow/tfjs-core';
import {create} from '../engines/tfjs.js';

const wasm = {getThreadsCount, setThreadsCount, setWasmPaths};
const tf = {clone, env, ready, setBackend, tensor, version_core, loadGraphModel, wasm};

/**
 * Start the engine.
 *
 * @param {StartOptions} options
 * @returns {Promise<Engine>}
 */
export async function start({assets, ...settings}) {
  if (settings.backend === 'wasm') setWasmPaths(assets ?? bundledFiles());
  return create(tf, settings);
}

/** Return the URLs of the .wasm files. A bundler reads each of these lines. */
const bundledFiles = () => ({
  'tfjs-backend-wasm.wasm': new URL('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm', import.meta.url).href,
  'tfjs-backend-wasm-simd.wasm': new URL(
    '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm',
    import.meta.url,
  ).href,
  'tfjs-backend-wasm-threaded-simd.wasm': new URL(
    '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm',
    import.meta.url,
  ).href,
});
