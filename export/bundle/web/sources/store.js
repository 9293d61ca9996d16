// Model files. Each one is checked against the sha256 in its artifact and kept in the browser's cache under that hash.
// A cached file is checked again when it is read: a damaged copy is deleted and fetched again.

/** @import {FileRow, Progress} from './types.d.ts' */

import {HydraError} from './errors.js';

/** @typedef {FileRow & {url: string}} Download */
/** @typedef {(bytes: number, fetched: number) => void} Report bytes done, and how many came over the network */
/**
 * @typedef {object} FetchOptions
 * @property {(progress: Progress) => void} [progress]
 * @property {AbortSignal | undefined} [signal]
 * @property {((url: string) => Promise<Uint8Array<ArrayBuffer>>) | undefined} [readFile] reads a file: URL (Node)
 */

const CACHE = 'hydra-models-1';

/** @param {ArrayBuffer} buffer */
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');

/**
 * @param {ArrayBuffer} content
 * @param {string} sha256
 */
async function matches(content, sha256) {
  if (!globalThis.crypto?.subtle) {
    throw new HydraError('insecure', 'hashes need a secure context: serve the page over HTTPS, or on localhost');
  }
  return hex(await crypto.subtle.digest('SHA-256', content)) === sha256;
}

// The cache takes http addresses only. This one is never fetched.
/** @param {string} sha256 */
const cacheKey = (sha256) => `/model-by-hash/${sha256}`;

/**
 * Return the content of model files, from the cache or the network.
 *
 * @param {Download[]} files
 * @param {FetchOptions} [options]
 * @returns {Promise<Record<string, ArrayBuffer>>} path to content
 * @throws {HydraError} where a file cannot be fetched or does not match its hash: the others are fetched no further
 */
export async function fetchVerified(files, {progress = () => {}, signal, readFile} = {}) {
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const state = {done: 0, total, fetched: 0};
  const stop = new AbortController();
  const abort = () => stop.abort();
  signal?.addEventListener('abort', abort);
  /** @type {Report} */
  const report = (bytes, fetched) => {
    state.done += bytes;
    state.fetched += fetched;
    if (!stop.signal.aborted) progress({...state});
  };
  try {
    if (signal?.aborted) throw new HydraError('aborted', 'loading was aborted');
    const job = {report, signal: stop.signal, readFile};
    const contents = await Promise.all(files.map(async (file) => [file.path, await verified(file, job)]));
    return Object.fromEntries(contents);
  } catch (error) {
    stop.abort();
    throw signal?.aborted ? new HydraError('aborted', 'loading was aborted') : error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** @typedef {{report: Report, signal: AbortSignal, readFile: FetchOptions['readFile']}} Job */

/**
 * Return the verified content of one file.
 *
 * @param {Download} file
 * @param {Job} job
 * @returns {Promise<ArrayBuffer>}
 */
async function verified(file, job) {
  const cache = await openCache();
  const key = cacheKey(file.sha256);
  const cached = await cache?.match(key);
  if (cached) {
    const content = await cached.arrayBuffer();
    if (await matches(content, file.sha256)) {
      job.report(file.bytes, 0);
      return content;
    }
    await cache?.delete(key);
  }
  const content = await download(file, job);
  if (!(await matches(content, file.sha256))) {
    throw new HydraError('corrupt', `${file.path} is damaged: its content does not match the sha256 of its artifact`);
  }
  await cache?.put(key, new Response(content)).catch(() => {}); // a full disk costs the cache, not the run
  return content;
}

/** Open the cache. Some private windows have none: everything works without it, and a second visit is slower. */
const openCache = () => globalThis.caches?.open(CACHE).catch(() => undefined);

/**
 * Fetch one file past the HTTP cache.
 *
 * @param {Download} file
 * @param {Job} job
 * @returns {Promise<ArrayBuffer>}
 */
async function download(file, {report, signal, readFile}) {
  if (file.url.startsWith('file:') && readFile) {
    const bytes = await readFile(file.url).catch(() => {
      throw new HydraError('missing', `${file.path} is missing: there is no ${file.url}`);
    });
    report(bytes.byteLength, bytes.byteLength);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  }
  const response = await fetch(file.url, {cache: 'no-store', signal}).catch(() => {
    throw new HydraError('unreachable', `${file.path} could not be fetched: is the server running?`);
  });
  if (!response.ok || !response.body) {
    throw new HydraError('missing', `${file.path} is missing on the server (HTTP ${response.status})`);
  }
  const reader = response.body.getReader();
  const parts = [];
  for (;;) {
    const {done, value} = await reader.read().catch(() => {
      throw new HydraError('unreachable', `${file.path} arrived in part only: the connection broke`);
    });
    if (done) break;
    parts.push(value);
    report(value.byteLength, value.byteLength);
  }
  return new Blob(parts).arrayBuffer();
}
