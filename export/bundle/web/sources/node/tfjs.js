// TF.js in Node, by its packages' names.

/** @import {Engine, StartOptions} from '../types.d.ts' */

import {createRequire} from 'node:module';
import {dirname} from 'node:path';
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
export async function start(options) {
  const main = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(`${dirname(main)}/`);
  return create(tf, options);
}
