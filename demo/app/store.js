// Model files: each one checked against the sha256 of its artifact, kept in the browser's cache under that hash.
// What is cached is checked again when it is read: a damaged copy is thrown away and fetched anew.

const CACHE = 'hydra-models-1';

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');
const matches = async (bytes, sha256) => hex(await crypto.subtle.digest('SHA-256', bytes)) === sha256;
const address = (sha256) => `/model-by-hash/${sha256}`;

export class ModelError extends Error {}

// files: [{url, path, bytes, gzip, sha256}] -> {path: ArrayBuffer}. onProgress({done, total, fetched}) in bytes.
export async function fetchVerified(files, onProgress) {
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const progress = {done: 0, total, fetched: 0};
  const report = (bytes, fetched) => {
    progress.done += bytes;
    progress.fetched += fetched;
    onProgress({...progress});
  };
  const found = await Promise.all(files.map(async (file) => [file.path, await one(file, report)]));
  return Object.fromEntries(found);
}

async function one(file, report) {
  const cache = await openCache();
  const kept = await cache?.match(address(file.sha256));
  if (kept) {
    const bytes = await kept.arrayBuffer();
    if (await matches(bytes, file.sha256)) {
      report(file.bytes, 0);
      return bytes;
    }
    await cache.delete(address(file.sha256));
  }
  const bytes = await download(file, report);
  if (!(await matches(bytes, file.sha256))) {
    throw new ModelError(`${file.path} is damaged: its content does not match the sha256 of its artifact`);
  }
  await cache?.put(address(file.sha256), new Response(bytes)).catch(() => {}); // a full disk costs the cache, not the run
  return bytes;
}

// Absent in some private windows: everything works without it, but for the second visit's speed.
const openCache = () => globalThis.caches?.open(CACHE).catch(() => undefined);

async function download(file, report) {
  let answer;
  try {
    answer = await fetch(file.url, {cache: 'no-store'});
  } catch {
    throw new ModelError(`${file.path} could not be fetched: is the server running?`);
  }
  if (!answer.ok) throw new ModelError(`${file.path} is missing on the server (HTTP ${answer.status})`);
  const reader = answer.body.getReader();
  const parts = [];
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    report(value.byteLength, value.byteLength);
  }
  return new Blob(parts).arrayBuffer();
}
