// Inference, off the page's thread. Calls {call, name, args} are answered {call, value} or {call, error}.
//
// A classic worker that imports modules: LiteRT.js loads its WebAssembly by importScripts, which a module worker lacks.

const modules = Promise.all([import('./model.js'), import('./resize.js'), import('./lift.js')]);
const models = new Map(); // by slot: "main", and "other" while two are compared
const say = (message) => postMessage({message});

async function timed(work) {
  const started = performance.now();
  const value = await work();
  return {value, ms: performance.now() - started};
}

const calls = {
  async load({slot, row, backend, threads}) {
    const [{loadModel}] = await modules;
    models.get(slot)?.close();
    models.delete(slot);
    let fetched = 0;
    const onProgress = (progress) => {
      fetched = progress.fetched;
      say({slot, ...progress});
    };
    const {value: model, ms} = await timed(() => loadModel({row, backend, threads}, onProgress));
    models.set(slot, model);
    return {value: {facts: model.facts, fetched, ms}};
  },

  // image: {data: Uint8ClampedArray RGBA, width, height}
  async encode({slot, image}) {
    const [, {resize}] = await modules;
    const model = models.get(slot);
    const [height, width] = model.row.size;
    const rgb = resize(image, width, height);
    const {ms} = await timed(() => model.encode(rgb));
    return {value: {ms}};
  },

  async head({slot, name}) {
    const {value, ms} = await timed(() => models.get(slot).head(name));
    return {value: {values: value, ms}, transfer: [value.buffer]};
  },

  // What rendering needs of a photo and its two maps; see lift.js.
  async lift(job) {
    const [, , {lift}] = await modules;
    const {value, ms} = await timed(() => lift(job));
    return {
      value: {...value, ms},
      transfer: Object.values(value)
        .filter((item) => item.buffer)
        .map((item) => item.buffer),
    };
  },

  // Bytes of the runtime's own files as the server sends them.
  async weigh() {
    const names = performance
      .getEntriesByType('resource')
      .map(({name}) => name)
      .filter((name) => name.includes('/npm/'));
    const sizes = await Promise.all(
      [...new Set(names)].map(async (name) => {
        const answer = await fetch(name, {method: 'HEAD'});
        return Number(answer.headers.get('Content-Length'));
      }),
    );
    return {value: sizes.reduce((sum, size) => sum + size, 0)};
  },

  async drop({slot}) {
    models.get(slot)?.close();
    models.delete(slot);
    return {};
  },
};

onmessage = async ({data: {call, name, args}}) => {
  try {
    const {value, transfer = []} = await calls[name](args);
    postMessage({call, value}, transfer);
  } catch (error) {
    postMessage({call, error: error?.message ?? String(error), kind: error?.constructor?.name});
  }
};
