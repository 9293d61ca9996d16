// Loads a net: in a worker by default, or in the page's thread.

/** @import {Backend, Contract, EngineName, HostOptions, Link, NetFacts, Progress, Start} from './types.d.ts' */
/** @import {Net} from './net.js' */

import {HydraError} from './errors.js';
import {Host} from './host.js';
import {WorkerLink} from './link.js';

/**
 * What an entry point of the package gives.
 *
 * @typedef {object} Entry
 * @property {EngineName} engine
 * @property {Backend[]} backends the first is the default, the last the one to fall back on
 * @property {Contract} contract
 * @property {Record<string, string>} urls path of a model file's part to its URL
 * @property {(() => Worker) | undefined} [worker]
 * @property {() => Promise<{start: Start}>} inline the engine for this thread
 * @property {((url: string) => Promise<Uint8Array<ArrayBuffer>>) | undefined} [readFile] reads a file: URL (Node)
 */
/**
 * @typedef {object} LoadOptions
 * @property {(progress: Progress) => void} [progress]
 * @property {AbortSignal} [signal]
 * @property {string | URL} [baseUrl]
 * @property {Backend} [backend]
 * @property {number} [threads]
 * @property {boolean} [worker]
 * @property {string | URL} [npm]
 * @property {string | URL} [assets]
 */
/** @template {Net} Kind @typedef {new (link: Link, contract: Contract, facts: NetFacts, inWorker: boolean) => Kind} Class */

/**
 * Load a net.
 *
 * @template {Net} Kind
 * @param {Class<Kind>} Class
 * @param {Entry} entry
 * @param {LoadOptions} [options]
 * @returns {Promise<Kind>}
 * @throws {HydraError}
 */
export async function load(Class, entry, options = {}) {
  const {progress = () => {}, signal} = options;
  if (signal?.aborted) throw aborted();
  const {worker = entry.worker !== undefined} = options;
  const {link, close} = worker ? inWorker(entry, options, progress) : await inThread(entry, options, progress);
  if (signal?.aborted) {
    close();
    throw aborted();
  }
  let stop = () => {};
  const stopped = new Promise((_, reject) => {
    stop = () => {
      reject(aborted()); // first: closing rejects the call under way, too
      close();
    };
    signal?.addEventListener('abort', stop);
  });
  try {
    const loaded = link.call('load', hostOptions(entry, options));
    const facts = /** @type {NetFacts} */ (await Promise.race([loaded, stopped]));
    return new Class(link, entry.contract, facts, worker);
  } catch (error) {
    close();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

const aborted = () => new HydraError('aborted', 'loading was aborted');

/**
 * @param {Entry} entry
 * @param {LoadOptions} options
 * @returns {HostOptions}
 */
function hostOptions({engine, backends, contract, urls}, {backend = backends[0], threads = 1, ...options}) {
  const last = backends[backends.length - 1];
  if (!backends.includes(backend)) {
    throw new HydraError('backend', `this entry point has no ${backend} backend (has: ${backends.join(', ')})`);
  }
  const here = globalThis.location?.href ?? import.meta.url;
  /** @param {string | URL | undefined} url a folder */
  const folder = (url) => url && new URL(`${url}`.replace(/\/?$/, '/'), here).href;
  const base = folder(options.baseUrl);
  const places = Object.entries(urls).map(([path, url]) => [path, base ? new URL(path, base).href : url]);
  return {
    contract,
    urls: Object.fromEntries(places),
    engine,
    backends: [...new Set([backend, last])],
    threads,
    npm: folder(options.npm),
    assets: folder(options.assets),
  };
}

/**
 * @param {Entry} entry
 * @param {LoadOptions} options
 * @param {(progress: Progress) => void} progress
 */
function inWorker(entry, {npm}, progress) {
  if (!entry.worker) throw new HydraError('backend', 'there is no worker here: load({worker: false})');
  const worker = npm ? new Worker(new URL('./workers/npm.js', import.meta.url), {type: 'module'}) : entry.worker();
  const link = new WorkerLink(worker, progress);
  return {link, close: () => link.close()};
}

/**
 * @param {Entry} entry
 * @param {LoadOptions} options
 * @param {(progress: Progress) => void} progress
 */
async function inThread({inline, readFile}, {npm}, progress) {
  const stop = new AbortController();
  const {start} = npm ? await import('./npm.js') : await inline();
  const host = new Host({start, progress, signal: stop.signal, readFile});
  const close = () => {
    stop.abort();
    host.close();
  };
  return {link: {call: host.call.bind(host), close}, close};
}
