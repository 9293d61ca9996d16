/** @import {Engine, StartOptions} from '../types.d.ts' */

import {HydraError} from '../errors.js';

/**
 * Refuse to start: LiteRT.js needs a document or a worker's importScripts.
 *
 * @param {StartOptions} _
 * @returns {Promise<Engine>}
 */
export async function start(_) {
  throw new HydraError('backend', 'LiteRT.js does not run in Node: use /ort or /tfjs there');
}
