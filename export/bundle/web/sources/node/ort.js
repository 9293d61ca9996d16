// ONNX Runtime Web in Node, by its package's name.

/** @import {Engine, StartOptions} from '../types.d.ts' */

import * as ort from 'onnxruntime-web';
import {create} from '../engines/ort.js';

/**
 * Start the engine.
 *
 * @param {StartOptions} options
 * @returns {Promise<Engine>}
 */
export const start = (options) => create(ort, options);
