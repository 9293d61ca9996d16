// What the benchmarks call in the browser. One engine a page; tensors that a run made stay on its device under a
// number, so that a head takes the encoder's features from there.

const VALUES = {float32: Float32Array, int32: Int32Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array};
const state = {engine: null, sessions: new Map(), kept: new Map(), next: 1};

// Browsers of before 2025 have no base64 of their own for bytes.
const bytesOf = (text) =>
  Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const textOf = (bytes) => bytes.toBase64?.() ?? btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
const decode = (text, dtype) => new VALUES[dtype](bytesOf(text).buffer);
const encode = (values) => textOf(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));

async function adapter() {
  const found = await navigator.gpu?.requestAdapter();
  const info = found?.info;
  return found
    ? {
        name: [info?.vendor, info?.architecture, info?.device, info?.description].filter(Boolean).join(' '),
        f16: found.features.has('shader-f16'),
        fallback: Boolean(info?.isFallbackAdapter ?? found.isFallbackAdapter),
      }
    : null;
}

// The renderer behind WebGL; null without WebGL 2.
function renderer() {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (!gl) return null;
  const named = gl.getExtension('WEBGL_debug_renderer_info');
  const name = gl.getParameter(named ? named.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return name;
}

// What this browser offers, whatever runs in it.
async function offers() {
  const {simd, relaxedSimd, threads} = await import('/npm/wasm-feature-detect/dist/esm/index.js');
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

async function start({library, backend, threads}) {
  const started = performance.now();
  const engine = await import(`/engines/${library}.js`);
  state.engine = await engine.start({npm: new URL('/npm/', location.href), backend, threads});
  return {...state.engine.facts, start_ms: performance.now() - started};
}

async function download(base, paths) {
  const files = await Promise.all(
    paths.map(async (path) => {
      const answer = await fetch(base + path.split('/').map(encodeURIComponent).join('/'));
      if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`);
      return [path, await answer.arrayBuffer()];
    }),
  );
  return Object.fromEntries(files);
}

async function open({base, key, file, paths, signature, outputs}) {
  const files = await download(base, paths);
  const model = await state.engine.open({key, file, files, signature, outputs});
  const id = state.next++;
  state.sessions.set(id, {model, outputs, inputs: {}, owned: [], results: {}, alive: new Set(), closing: false});
  return {id};
}

function freeInputs(session) {
  session.owned.forEach((tensor) => state.engine.release(tensor));
  session.owned = [];
  session.inputs = {};
}

function freeResults(session) {
  Object.values(session.results).forEach((tensor) => state.engine.release(tensor));
  session.results = {};
}

async function bind({id, tensors}) {
  const session = state.sessions.get(id);
  freeInputs(session);
  for (const {name, handle, data, shape, dtype} of tensors) {
    if (handle) {
      session.inputs[name] = state.kept.get(handle).tensor;
      continue;
    }
    session.inputs[name] = await state.engine.upload({data: decode(data, dtype), shape, dtype});
    session.owned.push(session.inputs[name]);
  }
}

// Milliseconds until the results are there, on the device: a GPU only queues work until something is asked of it.
async function invoke(session) {
  freeResults(session);
  const started = performance.now();
  session.results = await session.model.run(session.inputs);
  await state.engine.settle(session.results);
  return performance.now() - started;
}

// Milliseconds of each run, one after the other for `seconds`, at least `least` of them.
async function sample({id, seconds, least}) {
  const session = state.sessions.get(id);
  const times = [];
  const end = performance.now() + seconds * 1e3;
  while (times.length < least || performance.now() < end) times.push(await invoke(session));
  return times;
}

// Values of all outputs. The tensors stay, each under its number, until `release`.
async function fetchResults({id}) {
  const session = state.sessions.get(id);
  const made = [];
  for (const name of session.outputs) {
    const tensor = session.results[name];
    if (!tensor) throw new Error(`no output ${name} (has: ${Object.keys(session.results).join(', ')})`);
    const values = await state.engine.download(tensor);
    const handle = state.next++;
    state.kept.set(handle, {tensor, owner: id});
    session.alive.add(handle);
    made.push({name, handle, data: encode(values), bytes: values.BYTES_PER_ELEMENT});
    delete session.results[name];
  }
  freeResults(session);
  return made;
}

function release({handles}) {
  for (const handle of handles) {
    const {tensor, owner} = state.kept.get(handle);
    state.engine.release(tensor);
    state.kept.delete(handle);
    const session = state.sessions.get(owner);
    session.alive.delete(handle);
    if (session.closing) end(owner, session);
  }
}

// A model goes when the last tensor it made has gone: some runtimes keep both in one place.
function end(id, session) {
  if (session.alive.size) return;
  session.model.close();
  state.sessions.delete(id);
}

function close({id}) {
  const session = state.sessions.get(id);
  freeInputs(session);
  freeResults(session);
  session.closing = true;
  end(id, session);
}

const held = () => ({sessions: state.sessions.size, tensors: state.kept.size});

export const hydra = {offers, start, open, bind, sample, fetch: fetchResults, release, close, held};
globalThis.hydra = hydra;
document.body.dataset.ready = 'true';
