// The commands that the benchmarks send to a browser (benchmarks/runtimes/web/link.py). A page has one engine. Outputs
// of a run stay on its device under a handle, so that a head can read the encoder's features there.

/**
 * @import {
 *   Backend, Dtype, Engine, EngineModule, EngineName, Runner, TensorData,
 * } from '../../../../export/bundle/web/sources/types.d.ts'
 */

/**
 * An opened entry of an artifact. It may own tensors that outlive it: the inputs it uploaded, and kept results.
 *
 * @typedef {object} Session
 * @property {Runner<unknown>} runner
 * @property {string[]} outputs names in the file
 * @property {Record<string, unknown>} inputs by name
 * @property {unknown[]} owned inputs that were uploaded for this session alone
 * @property {Record<string, unknown>} results of the last run, by name
 * @property {Set<number>} alive handles of kept results
 * @property {boolean} closing
 */

/** @typedef {{name: string, handle: number}} KeptInput an input that lies on the device already */
/** @typedef {{name: string, handle?: undefined, data: string, shape: number[], dtype: Dtype}} SentInput in base64 */
/** @typedef {{name: string, handle: number, data: string, bytes: number}} SentOutput in base64; bytes per element */

// Engines and files of artifacts have the token in their paths. The headless browser's page needs none.
const token = location.hash.slice(1);
const ROOT = token ? `/~${token}` : '';

/** @type {Engine | null} */
let engine = null;
/** @type {Map<number, Session>} by id */
const sessions = new Map();
/** @type {Map<number, {tensor: unknown, owner: number}>} by handle */
const kept = new Map();
let next = 1;

/** @returns {Engine} */
function startedEngine() {
  if (!engine) throw new Error('no engine was started');
  return engine;
}

/**
 * Return the session with this id.
 *
 * @param {number} id
 * @returns {Session}
 */
function sessionOf(id) {
  const session = sessions.get(id);
  if (!session) throw new Error(`no session ${id}`);
  return session;
}

/**
 * Return the kept tensor with this handle.
 *
 * @param {number} handle
 */
function keptTensor(handle) {
  const entry = kept.get(handle);
  if (!entry) throw new Error(`no tensor ${handle}`);
  return entry;
}

// Browsers before 2025 have no base64 functions for bytes.
/**
 * @param {string} text base64
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(text) {
  return Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/**
 * @param {TensorData} data
 * @returns {string} base64
 */
function textOf(data) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return bytes.toBase64?.() ?? btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

/** Describe the WebGPU adapter; null where there is none. */
async function adapter() {
  const found = await navigator.gpu?.requestAdapter();
  if (!found) return null;
  const {info} = found;
  const words = [info?.vendor, info?.architecture, info?.device, info?.description];
  // Older browsers have this property on the adapter itself.
  const {isFallbackAdapter} = /** @type {{isFallbackAdapter?: boolean}} */ (found);
  return {
    name: words.filter(Boolean).join(' '),
    f16: found.features.has('shader-f16'),
    fallback: Boolean(info?.isFallbackAdapter ?? isFallbackAdapter),
  };
}

/**
 * Name the renderer behind WebGL.
 *
 * @returns {string | null} null without WebGL 2
 */
function renderer() {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (!gl) return null;
  const debug = gl.getExtension('WEBGL_debug_renderer_info');
  const name = gl.getParameter(debug ? debug.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return name;
}

/** Describe the features of this browser, independent of the engine. */
async function offers() {
  const {simd, relaxedSimd, threads} = await import(`${ROOT}/npm/wasm-feature-detect/dist/esm/index.js`);
  return {
    user_agent: navigator.userAgent,
    isolated: Boolean(globalThis.crossOriginIsolated),
    secure: globalThis.isSecureContext,
    cores: navigator.hardwareConcurrency,
    wasm: {simd: await simd(), relaxed_simd: await relaxedSimd(), threads: await threads()},
    adapter: await adapter(),
    webgl: renderer(),
  };
}

/**
 * Start this page's engine.
 *
 * @param {{library: EngineName, backend: Backend, threads: number}} options
 */
async function start({library, backend, threads}) {
  const started = performance.now();
  /** @type {EngineModule} */
  const module = await import(`${ROOT}/runtime/engines/${library}.js`);
  engine = await module.start({npm: new URL(`${ROOT}/npm/`, location.href), backend, threads});
  return {...engine.facts, start_ms: performance.now() - started};
}

/**
 * Download files below `base`.
 *
 * @param {string} base
 * @param {string[]} paths
 * @returns {Promise<Record<string, ArrayBuffer>>} path to content
 */
async function download(base, paths) {
  const files = await Promise.all(
    paths.map(async (path) => {
      const response = await fetch(ROOT + base + path.split('/').map(encodeURIComponent).join('/'));
      if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
      return [path, await response.arrayBuffer()];
    }),
  );
  return Object.fromEntries(files);
}

/**
 * Open one entry of an artifact.
 *
 * @param {{base: string, key: string, file: string, paths: string[], signature: string, outputs: string[]}} options
 */
async function open({base, key, file, paths, signature, outputs}) {
  const files = await download(base, paths);
  const runner = await startedEngine().open({key, file, files, signature, outputs});
  const id = next++;
  sessions.set(id, {runner, outputs, inputs: {}, owned: [], results: {}, alive: new Set(), closing: false});
  return {id};
}

/** @param {Session} session */
function freeInputs(session) {
  for (const tensor of session.owned) startedEngine().release(tensor);
  session.owned = [];
  session.inputs = {};
}

/** @param {Session} session */
function freeResults(session) {
  for (const tensor of Object.values(session.results)) startedEngine().release(tensor);
  session.results = {};
}

/**
 * Set a session's inputs, from the message or from the device.
 *
 * @param {{id: number, tensors: (KeptInput | SentInput)[]}} options
 */
async function bind({id, tensors}) {
  const session = sessionOf(id);
  freeInputs(session);
  for (const input of tensors) {
    if (input.handle) {
      session.inputs[input.name] = keptTensor(input.handle).tensor;
      continue;
    }
    const {name, data, shape, dtype} = /** @type {SentInput} */ (input);
    const {ARRAYS} = await import(`${ROOT}/runtime/tensors.js`);
    const tensor = await startedEngine().upload({data: new ARRAYS[dtype](bytesOf(data).buffer), shape, dtype});
    session.inputs[name] = tensor;
    session.owned.push(tensor);
  }
}

/**
 * Run a session until its results are on the device.
 *
 * @param {Session} session
 * @returns {Promise<number>} milliseconds
 */
async function invoke(session) {
  freeResults(session);
  const started = performance.now();
  session.results = await session.runner.run(session.inputs);
  await startedEngine().synchronize(session.results);
  return performance.now() - started;
}

/**
 * Run a session again and again for `seconds`, at least `least` times.
 *
 * @param {{id: number, seconds: number, least: number}} options
 * @returns {Promise<number[]>} milliseconds of each run
 */
async function sample({id, seconds, least}) {
  const session = sessionOf(id);
  const times = [];
  const end = performance.now() + seconds * 1e3;
  while (times.length < least || performance.now() < end) times.push(await invoke(session));
  // Clocks of browsers step by 5 microseconds or more: further digits are noise of the binary float.
  return times.map((time) => Number(time.toFixed(4)));
}

/**
 * Fetch all outputs of the last run. The tensors stay on the device, each under its handle, until `release`.
 *
 * @param {{id: number}} options
 * @returns {Promise<SentOutput[]>}
 */
async function fetchResults({id}) {
  const session = sessionOf(id);
  const sent = [];
  for (const name of session.outputs) {
    const tensor = session.results[name];
    if (!tensor) throw new Error(`no output ${name} (has: ${Object.keys(session.results).join(', ')})`);
    const data = await startedEngine().download(tensor);
    const handle = next++;
    kept.set(handle, {tensor, owner: id});
    session.alive.add(handle);
    sent.push({name, handle, data: textOf(data), bytes: data.BYTES_PER_ELEMENT});
    delete session.results[name];
  }
  freeResults(session);
  return sent;
}

/**
 * Free kept tensors.
 *
 * @param {{handles: number[]}} options
 */
function release({handles}) {
  for (const handle of handles) {
    const {tensor, owner} = keptTensor(handle);
    startedEngine().release(tensor);
    kept.delete(handle);
    const session = sessionOf(owner);
    session.alive.delete(handle);
    if (session.closing) end(owner, session);
  }
}

/**
 * Close a model once its last output is freed: some runtimes keep both in the same memory.
 *
 * @param {number} id
 * @param {Session} session
 */
function end(id, session) {
  if (session.alive.size) return;
  session.runner.close();
  sessions.delete(id);
}

/**
 * Close a session, now or when its last kept tensor is freed.
 *
 * @param {{id: number}} options
 */
function close({id}) {
  const session = sessionOf(id);
  freeInputs(session);
  freeResults(session);
  session.closing = true;
  end(id, session);
}

/** Count open sessions and kept tensors, for tests of leaks. */
const held = () => ({sessions: sessions.size, tensors: kept.size});

export const hydra = {offers, start, open, bind, sample, fetch: fetchResults, release, close, held};
Object.assign(globalThis, {hydra});
document.body.dataset.ready = 'true';
