// TF.js on WebGPU, and in WebAssembly to fall back on, by its packages' names.

/** @import {Engine, StartOptions} from '../types.d.ts' */

import * as backend from '@tensorflow/tfjs-backend-webgpu';
import {start as startTfjs} from './tfjs.js';

/**
 * Start the engine.
 *
 * @param {StartOptions} options
 * @returns {Promise<Engine>}
 */
export async function start(options) {
  // Used, so that no bundler drops the import, which registers the backend.
  if (!backend.webgpu_util) throw new Error('the backend is missing');
  return startTfjs(options);
}
