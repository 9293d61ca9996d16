// Model files. Each one is checked against the sha256 in its artifact and kept in the browser's cache under that hash.
// A cached file is checked again when it is read: a damaged copy is deleted and fetched again.

/** @import {FileRow, Progress} from '../types.d.ts' */

/** @typedef {FileRow & {url: string}} Download */
/** @typedef {(bytes: number, fetched: number) => void} Report bytes done, and how many came over the network */

const CACHE = 'hydra-models-1';

/** @param {ArrayBuffer} buffer */
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');

/**
 * @param {ArrayBuffer} content
 * @param {string} sha256
 */
const matches = async (content, sha256) => hex(await crypto.subtle.digest('SHA-256', content)) === sha256;

/** @param {string} sha256 */
const cacheKey = (sha256) => `/model-by-hash/${sha256}`;

/** A model file that is missing or damaged. */
export class ModelError extends Error {}

/**
 * Return the content of model files, from the cache or the network.
 *
 * @param {Download[]} files
 * @param {(progress: Progress) => void} onProgress
 * @returns {Promise<Record<string, ArrayBuffer>>} path to content
 * @throws {ModelError} where a file cannot be fetched or does not match its hash
 */
export async function fetchVerified(files, onProgress) {
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const progress = {done: 0, total, fetched: 0};
  /** @type {Report} */
  const report = (bytes, fetched) => {
    progress.done += bytes;
    progress.fetched += fetched;
    onProgress({...progress});
  };
  const contents = await Promise.all(files.map(async (file) => [file.path, await verified(file, report)]));
  return Object.fromEntries(contents);
}

/**
 * Return the verified content of one file.
 *
 * @param {Download} file
 * @param {Report} report
 * @returns {Promise<ArrayBuffer>}
 */
async function verified(file, report) {
  const cache = await openCache();
  const key = cacheKey(file.sha256);
  const cached = await cache?.match(key);
  if (cached) {
    const content = await cached.arrayBuffer();
    if (await matches(content, file.sha256)) {
      report(file.bytes, 0);
      return content;
    }
    await cache?.delete(key);
  }
  const content = await download(file, report);
  if (!(await matches(content, file.sha256))) {
    throw new ModelError(`${file.path} is damaged: its content does not match the sha256 of its artifact`);
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
 * @param {Report} report
 * @returns {Promise<ArrayBuffer>}
 */
async function download(file, report) {
  const response = await fetch(file.url, {cache: 'no-store'}).catch(() => {
    throw new ModelError(`${file.path} could not be fetched: is the server running?`);
  });
  if (!response.ok || !response.body) {
    throw new ModelError(`${file.path} is missing on the server (HTTP ${response.status})`);
  }
  const reader = response.body.getReader();
  const parts = [];
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    report(value.byteLength, value.byteLength);
  }
  return new Blob(parts).arrayBuffer();
}
