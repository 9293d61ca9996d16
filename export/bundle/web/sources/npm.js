// Engines by the URL of their npm packages, for pages without a bundler.

/** @import {StartOptions} from './types.d.ts' */

import {start as litert} from './engines/litert.js';
import {start as ort} from './engines/ort.js';
import {start as tfjs} from './engines/tfjs.js';

const ENGINES = {litert, ort, tfjs};

/**
 * Start an engine.
 *
 * @param {StartOptions} options
 * @returns {Promise<import('./types.d.ts').Engine>}
 */
export async function start({engine, backend, threads, npm}) {
  return ENGINES[engine]({npm: new URL(npm ?? ''), backend, threads});
}
