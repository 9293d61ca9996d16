// Runs a net's steps, in a worker or in the page's thread. Calls run one at a time, in their order.

/** @import {
 *   Backend, FileRow, Given, HostCalls, HostOptions, NetFacts, Progress, Start, StepInput, StepResult, TensorData,
 * } from './types.d.ts'
 */

import {asHydraError, HydraError, messageOf} from './errors.js';
import {Model} from './model.js';
import {photoBytes} from './photo.js';
import {fetchVerified} from './store.js';
import {ARRAYS, fileData, photoData, referenceData, referenceShape} from './tensors.js';

/** @typedef {{step: string, tensors: Record<string, unknown>}} Kept features on the device */
/**
 * @typedef {object} Surroundings
 * @property {Start} start
 * @property {(progress: Progress) => void} [progress]
 * @property {AbortSignal | undefined} [signal]
 * @property {((url: string) => Promise<Uint8Array<ArrayBuffer>>) | undefined} [readFile]
 */

export class Host {
  /** @param {Surroundings} surroundings */
  constructor(surroundings) {
    this.surroundings = surroundings;
    /** @type {Map<number, Kept>} */
    this.kept = new Map();
    /** @type {Model | undefined} */
    this.model = undefined;
    /** @type {HostOptions | undefined} */
    this.options = undefined;
    this.next = 1;
    /** @type {NetFacts} */
    this.facts = {backend: 'wasm', threads: 1, fallback: ''};
    /** @type {Promise<unknown>} the last call */
    this.tail = Promise.resolve();
  }

  /**
   * Call one of the functions below, after all earlier calls have settled.
   *
   * @template {keyof HostCalls} Name
   * @param {Name} name
   * @param {Parameters<HostCalls[Name]>[0]} args
   * @returns {Promise<ReturnType<HostCalls[Name]>>}
   */
  call(name, args) {
    // The arguments belong to the name.
    const method = /** @type {(args: unknown) => Promise<ReturnType<HostCalls[Name]>>} */ (this[name]);
    const result = this.tail.then(() => method.call(this, args));
    this.tail = result.catch(() => {});
    return result;
  }

  /**
   * Fetch the files and open the modules in the first backend that works.
   *
   * @param {HostOptions} options
   * @returns {Promise<NetFacts>}
   */
  async load(options) {
    this.options = options;
    const {progress, signal, readFile} = this.surroundings;
    const rows = options.contract.files.flatMap(({parts}) => parts);
    const list = rows.map((part) => ({...part, url: options.urls[part.path]}));
    const parts = await fetchVerified(list, {signal, readFile, ...(progress && {progress})});
    /** @type {Record<string, ArrayBuffer>} */
    const files = {};
    for (const {path, parts: own} of options.contract.files) {
      files[path] =
        own.length === 1 ? parts[own[0].path] : await new Blob(own.map((row) => parts[row.path])).arrayBuffer();
    }
    const reasons = [];
    for (const backend of options.backends) {
      try {
        await this.open(options, backend, files);
        this.facts.fallback = reasons.join('; ');
        return {...this.facts};
      } catch (error) {
        const known = asHydraError('backend', error);
        reasons.push(`${backend}: ${known.message}`);
        if (backend === options.backends.at(-1)) throw new HydraError(known.code, reasons.join('; '));
      }
    }
    throw new HydraError('backend', 'no backend was asked for');
  }

  /**
   * Start the engine in one backend and open all modules.
   *
   * @param {HostOptions} options
   * @param {Backend} backend
   * @param {Record<string, ArrayBuffer>} files
   */
  async open({contract, engine: name, threads, npm, assets}, backend, files) {
    const engine = await this.surroundings.start({engine: name, backend, threads, npm, assets});
    const model = new Model(engine);
    try {
      for (const [step, module] of Object.entries(contract.steps)) await model.open(step, module, files);
    } catch (error) {
      model.close();
      throw new HydraError('model', messageOf(error));
    }
    this.model = model;
    this.facts = {backend, threads: engine.facts.threads, fallback: ''};
  }

  /**
   * Run one step. Where a GPU fails, out of memory for instance, the net is opened again in the last backend, WebAssembly,
   * and the step runs there; the features of earlier calls are lost.
   *
   * @param {Parameters<HostCalls['step']>[0]} args
   * @returns {Promise<StepResult>}
   */
  async step(args) {
    try {
      return await this.runStep(args);
    } catch (error) {
      const last = this.options?.backends.at(-1);
      if (!this.options || !last || error instanceof HydraError || this.facts.backend === last) {
        throw asHydraError('run', error);
      }
      const reason = `${this.facts.backend}: ${messageOf(error)}`;
      try {
        this.close();
      } catch {
        // A lost GPU frees nothing any more.
      }
      await this.load({...this.options, backends: [last]});
      this.facts.fallback = reason;
      return this.runStep(args);
    }
  }

  /**
   * @param {Parameters<HostCalls['step']>[0]} args
   * @returns {Promise<StepResult>}
   */
  async runStep({name, given, features, raw = false}) {
    const {model, options} = this;
    if (!model || !options) throw new HydraError('disposed', 'the net is not loaded');
    const {inputs, outputs, features: passedOn, results} = options.contract.steps[name];
    /** @type {Record<string, unknown>} */
    const fed = {};
    const own = [];
    for (const port of inputs) {
      if (port.step) fed[port.name] = this.feature(features[port.step], port);
      else own.push(port);
    }
    for (const port of own) fed[port.name] = await model.upload(port, await dataOf(port, given[port.name]));
    /** @type {Record<string, unknown>} */
    let made = {};
    try {
      made = await model.run(name, fed);
      /** @type {StepResult['results']} */
      const read = {};
      for (const port of outputs.filter((one) => results.includes(one.name))) {
        const data = await model.engine.download(made[port.name]);
        // A copy: what an engine returns may be a view of its memory.
        read[port.name] = raw
          ? {data: data.slice(), shape: port.shape}
          : {data: referenceData(port, data), shape: referenceShape(port)};
      }
      const held = Object.fromEntries(passedOn.map((one) => [one, made[one]]));
      for (const one of passedOn) delete made[one];
      if (passedOn.length) {
        await model.engine.synchronize(held);
        this.kept.set(this.next, {step: name, tensors: held});
      }
      return {results: read, kept: passedOn.length ? this.next++ : 0, facts: {...this.facts}};
    } finally {
      model.release(made);
      model.release(Object.fromEntries(own.map((port) => [port.name, fed[port.name]])));
    }
  }

  /**
   * Return a kept feature.
   *
   * @param {number} kept
   * @param {StepInput} port
   */
  feature(kept, port) {
    const found = this.kept.get(kept);
    if (found?.step === port.step) return found.tensors[port.name];
    throw new HydraError('features', `the features of ${port.step} are gone: run it again`);
  }

  /** @param {Parameters<HostCalls['free']>[0]} args */
  async free({kept}) {
    const found = this.kept.get(kept);
    if (found) this.model?.release(found.tensors);
    this.kept.delete(kept);
  }

  /**
   * Fetch files, checked.
   *
   * @param {{files: (FileRow & {url: string})[]}} args
   */
  files({files}) {
    return fetchVerified(files, {readFile: this.surroundings.readFile});
  }

  /** Free everything. */
  close() {
    for (const {tensors} of this.kept.values()) this.model?.release(tensors);
    this.kept.clear();
    this.model?.close();
    this.model = undefined;
  }
}

/**
 * Return the elements of a given input, as the file has them.
 *
 * @param {StepInput} port
 * @param {Given} given
 * @returns {Promise<TensorData>}
 */
async function dataOf(port, given) {
  if ('raw' in given) return new ARRAYS[port.dtype](given.raw);
  if ('values' in given) return fileData(port, given.values);
  if ('rgb' in given) return photoData(port, given.rgb);
  const [, , height, width] = referenceShape(port);
  return photoData(port, await photoBytes(given.photo, width, height));
}
