// LiteRT.js in WebAssembly, by its package's name: two builds, of which a browser loads the one it can run.

/** @import {Engine, StartOptions} from '../types.d.ts' */

import * as litert from '@litertjs/core';
import {create} from '../engines/litert.js';

/** URLs of the builds without threads. A bundler reads each of these lines. */
const FILES = {
  'litert_wasm_internal.js': new URL('@litertjs/core/wasm/litert_wasm_internal.js', import.meta.url).href,
  'litert_wasm_internal.wasm': new URL('@litertjs/core/wasm/litert_wasm_internal.wasm', import.meta.url).href,
  'litert_wasm_compat_internal.js': new URL('@litertjs/core/wasm/litert_wasm_compat_internal.js', import.meta.url).href,
  'litert_wasm_compat_internal.wasm': new URL('@litertjs/core/wasm/litert_wasm_compat_internal.wasm', import.meta.url)
    .href,
};

/**
 * Start the engine. Threads need the package's folder wasm/ at `assets`.
 *
 * @param {StartOptions} options
 * @returns {Promise<Engine>}
 */
export async function start({assets, ...settings}) {
  /** @type {Record<string, string>} */
  const files = FILES;
  const threads = assets ? settings.threads : 1;
  return create(litert, {...settings, threads}, (name) => (assets ? new URL(name, assets).href : files[name]));
}
