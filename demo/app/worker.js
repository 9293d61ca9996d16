// Inference, off the page's thread. A request {call, name, args} is answered by {call, value} or {call, error}.
//
// A classic worker that imports modules: LiteRT.js loads its WebAssembly by importScripts, which a module worker lacks.

/** @import {Calls, Message, Request, Slot} from '../types.d.ts' */
/** @typedef {Awaited<ReturnType<typeof import('./model.js').loadModel>>} Model */
/**
 * @typedef {{[Name in keyof Calls]: (args: Parameters<Calls[Name]>[0]) =>
 *   Promise<{value: ReturnType<Calls[Name]>, transfer?: Transferable[]}>}} Handlers
 */

const modules = Promise.all([import('./model.js'), import('/runtime/resize.js'), import('./lift.js')]);
/** @type {Map<Slot, Model>} "main", and "other" while two artifacts are compared */
const models = new Map();

/**
 * Post a message whose type is checked.
 *
 * @param {Message} message
 * @param {Transferable[]} [transfer]
 */
const send = (message, transfer = []) => postMessage(message, transfer);

/**
 * Return the artifact in a slot.
 *
 * @param {Slot} slot
 * @throws {Error} where the slot is empty
 */
function modelIn(slot) {
  const model = models.get(slot);
  if (!model) throw new Error(`no artifact is loaded in the slot ${slot}`);
  return model;
}

/**
 * Measure how long `work` takes, in milliseconds.
 *
 * @template Value
 * @param {() => Value | Promise<Value>} work
 */
async function timed(work) {
  const started = performance.now();
  const value = await work();
  return {value, ms: performance.now() - started};
}

/** @type {Handlers} */
const handlers = {
  async load({slot, row, backend, threads}) {
    const [{loadModel}] = await modules;
    models.get(slot)?.close();
    models.delete(slot);
    let fetched = 0;
    const {value: model, ms} = await timed(() =>
      loadModel({row, backend, threads}, (progress) => {
        fetched = progress.fetched;
        send({progress});
      }),
    );
    models.set(slot, model);
    return {value: {facts: model.facts, fetched, ms}};
  },

  async encode({slot, image}) {
    const [, {resize}] = await modules;
    const model = modelIn(slot);
    const [height, width] = model.row.size;
    const rgb = resize(image, width, height);
    const {ms} = await timed(() => model.encode(rgb));
    return {value: {ms}};
  },

  async head({slot, name}) {
    const {value: values, ms} = await timed(() => modelIn(slot).head(name));
    return {value: {values, ms}, transfer: [values.buffer]};
  },

  async lift(job) {
    const [, , {lift}] = await modules;
    const {value: layers, ms} = await timed(() => lift(job));
    const {matte, near, far, front, back} = layers;
    return {value: {...layers, ms}, transfer: [matte, near, far, front, back].map(({buffer}) => buffer)};
  },

  async runtimeBytes() {
    const names = performance.getEntriesByType('resource').map(({name}) => name);
    const unique = new Set(names.filter((name) => name.includes('/npm/')));
    const sizes = await Promise.all(
      [...unique].map(async (name) => {
        const response = await fetch(name, {method: 'HEAD'});
        return Number(response.headers.get('Content-Length'));
      }),
    );
    return {value: sizes.reduce((sum, size) => sum + size, 0)};
  },

  async drop({slot}) {
    models.get(slot)?.close();
    models.delete(slot);
    return {value: undefined};
  },
};

self.onmessage = async (/** @type {MessageEvent<Request>} */ {data: {call, name, args}}) => {
  try {
    // The arguments belong to the name: `Net.call` checks the pair.
    const handler = /** @type {(args: unknown) => ReturnType<Handlers[keyof Calls]>} */ (handlers[name]);
    const {value, transfer = []} = await handler(args);
    send({call, value}, transfer);
  } catch (error) {
    // WebAssembly does not always throw an Error, but every thrown value has a message.
    const thrown = /** @type {{message?: string} | null | undefined} */ (error);
    send({call, error: thrown?.message ?? String(error)});
  }
};
