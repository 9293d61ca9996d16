// A net as an app calls it. The generated class adds one method per step.

/** @import {Backend, Contract, Given, Link, NetFacts, StepInput, StepResult} from './types.d.ts' */
/** @import {Photo} from './photo.js' */
/** @import {Elements, Tensor} from './outputs.js' */

import {HydraError} from './errors.js';
import {outputOf} from './outputs.js';
import {bitmapOf, isPixels, photoBytes} from './photo.js';
import {referenceShape} from './tensors.js';

/** @typedef {ArrayLike<number> | ArrayLike<bigint>} Values */
/** @typedef {Record<string, Photo | Values>} Inputs by the port's name */
/** @typedef {Record<string, Tensor>} Results by field */
/** @typedef {{link: Link, contract: Contract, facts: NetFacts, disposed: boolean, inWorker: boolean}} State */
/** @typedef {{net: Net, step: string, kept: number, freed: boolean}} KeptState */

/** @type {WeakMap<Net, State>} */
const STATES = new WeakMap();
/** @type {WeakMap<Features, KeptState>} */
const KEPT = new WeakMap();
// Features that an app drops without `dispose` are freed when they are collected.
const REGISTRY = new FinalizationRegistry((/** @type {KeptState} */ kept) => free(kept));

/** The features of one step, which stay on the engine's device. */
export class Features {
  /** Free them now. Otherwise they are freed when nothing refers to them any more. */
  dispose() {
    const kept = KEPT.get(this);
    if (kept) free(kept);
  }
}

/** @param {KeptState} kept */
function free(kept) {
  if (kept.freed) return;
  kept.freed = true;
  const state = STATES.get(kept.net);
  if (state && !state.disposed) state.link.call('free', {kept: kept.kept}).catch(() => {});
}

export class Net {
  /**
   * @param {Link} link
   * @param {Contract} contract
   * @param {NetFacts} facts
   * @param {boolean} inWorker
   */
  constructor(link, contract, facts, inWorker) {
    STATES.set(this, {link, contract, facts, disposed: false, inWorker});
  }

  /** @returns {Backend} the backend that runs */
  get backend() {
    return stateOf(this).facts.backend;
  }

  /** @returns {number} WebAssembly threads in use */
  get threads() {
    return stateOf(this).facts.threads;
  }

  /** @returns {string} why another backend than the wanted one runs; "" where it is the wanted one */
  get fallback() {
    return stateOf(this).facts.fallback;
  }

  /** Free the net and all features. Calls under way and later calls are rejected with the code "disposed". */
  dispose() {
    const state = stateOf(this);
    if (!state.disposed) state.link.close();
    state.disposed = true;
  }
}

/**
 * Return what a net holds.
 *
 * @param {Net} net
 * @returns {State}
 */
export function stateOf(net) {
  return /** @type {State} */ (STATES.get(net));
}

/**
 * Run one step.
 *
 * @param {Net} net
 * @param {string} name
 * @param {Features[]} features of the steps that it reads
 * @param {Inputs} inputs that the caller gives
 * @returns {Promise<{results: Results, features: Features | undefined}>}
 */
export async function runStep(net, name, features, inputs) {
  const step = stateOf(net).contract.steps[name];
  const reads = [...new Set(step.inputs.map((port) => port.step).filter(Boolean))];
  const kept = reads.map((read, index) => [read, keptOf(net, features[index], read)]);
  const {given, transfer} = await givenOf(net, step.inputs, inputs);
  const answer = await callStep(net, {name, given, features: Object.fromEntries(kept)}, transfer);
  const state = {net, step: name, kept: answer.kept, freed: !answer.kept};
  if (!answer.kept) return {results: resultsOf(step.outputs, answer), features: undefined};
  const made = new Features();
  KEPT.set(made, state);
  REGISTRY.register(made, state);
  return {results: resultsOf(step.outputs, answer), features: made};
}

/**
 * Run several steps, each on the features of those before it. Nothing is kept.
 *
 * @param {Net} net
 * @param {string} name of the whole
 * @param {Inputs} inputs that the caller gives
 * @returns {Promise<Results>}
 */
export async function runWhole(net, name, inputs) {
  try {
    return await runAll(net, name, inputs);
  } catch (error) {
    // The features got lost between two steps where a GPU failed, and the net was opened again without it.
    if (error instanceof HydraError && error.code === 'features') return runAll(net, name, inputs);
    throw error;
  }
}

/**
 * @param {Net} net
 * @param {string} name
 * @param {Inputs} inputs
 * @returns {Promise<Results>}
 */
async function runAll(net, name, inputs) {
  const {steps, wholes} = stateOf(net).contract;
  const {steps: names, outputs} = wholes[name];
  const fields = names.flatMap((one) => steps[one].outputs).filter((port) => outputs.includes(port.name));
  /** @type {Record<string, Features | undefined>} */
  const made = {};
  /** @type {Results} */
  const all = {};
  try {
    for (const one of names) {
      const reads = [...new Set(steps[one].inputs.map((port) => port.step).filter(Boolean))];
      const features = reads.map((read) => /** @type {Features} */ (made[read]));
      const done = await runStep(net, one, features, inputs);
      made[one] = done.features;
      Object.assign(all, done.results);
    }
  } finally {
    for (const features of Object.values(made)) features?.dispose();
  }
  return Object.fromEntries(fields.map(({key}) => [key, all[key]]));
}

/**
 * Send one step to the host.
 *
 * @param {Net} net
 * @param {Parameters<import('./types.d.ts').HostCalls['step']>[0]} args
 * @param {Transferable[]} transfer
 * @returns {Promise<StepResult>}
 */
export async function callStep(net, args, transfer = []) {
  const state = stateOf(net);
  if (state.disposed) throw new HydraError('disposed', 'the net was disposed');
  try {
    const answer = await state.link.call('step', args, transfer);
    state.facts = answer.facts;
    return answer;
  } catch (error) {
    // What an engine says while it is taken down is no reason.
    throw state.disposed ? new HydraError('disposed', 'the net was disposed') : error;
  }
}

/**
 * Return the number under which features are kept.
 *
 * @param {Net} net
 * @param {Features} features
 * @param {string} step whose features are wanted
 */
function keptOf(net, features, step) {
  const kept = features instanceof Features ? KEPT.get(features) : undefined;
  if (!kept) throw new HydraError('features', `features of ${step} are wanted here`);
  if (kept.net !== net) throw new HydraError('features', 'these features belong to another net');
  if (kept.step !== step) throw new HydraError('features', `these are features of ${kept.step}, not of ${step}`);
  if (kept.freed) throw new HydraError('features', `the features of ${step} are disposed: run it again`);
  return kept.kept;
}

/**
 * Prepare the inputs for the host, in a worker perhaps.
 *
 * @param {Net} net
 * @param {StepInput[]} ports
 * @param {Inputs} inputs
 */
async function givenOf(net, ports, inputs) {
  const {inWorker, disposed} = stateOf(net);
  if (disposed) throw new HydraError('disposed', 'the net was disposed');
  /** @type {Record<string, Given>} */
  const given = {};
  /** @type {Transferable[]} */
  const transfer = [];
  for (const port of ports.filter(({step}) => !step)) {
    const input = inputs[port.name];
    if (!port.photo) {
      given[port.name] = {values: /** @type {Values} */ (input)};
      continue;
    }
    const photo = /** @type {Photo} */ (input);
    const [, , height, width] = referenceShape(port);
    if (!inWorker || typeof OffscreenCanvas === 'undefined') {
      given[port.name] = {rgb: await photoBytes(photo, width, height)};
    } else if (isPixels(photo)) {
      given[port.name] = {photo: {data: photo.data, width: photo.width, height: photo.height}};
    } else if (photo instanceof Blob) {
      given[port.name] = {photo};
    } else {
      const bitmap = await bitmapOf(photo);
      if (bitmap !== photo) transfer.push(bitmap);
      given[port.name] = {photo: bitmap};
    }
  }
  return {given, transfer};
}

/**
 * @param {import('./types.d.ts').StepOutput[]} outputs
 * @param {StepResult} answer
 * @returns {Results}
 */
function resultsOf(outputs, {results}) {
  const own = outputs.filter(({name}) => name in results);
  return Object.fromEntries(
    own.map((port) => {
      const {data, shape} = results[port.name];
      return [port.key, outputOf(port, /** @type {Elements} */ (data), shape)];
    }),
  );
}
