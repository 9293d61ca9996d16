// The page's use of the net: the chosen artifact and runtime, the times of a photo, and the making of scenes.

/** @import {ArtifactRow, Backend, Catalog, EngineName, Loaded, Progress, Slot, Timed} from '../types.d.ts' */
/** @import {Stage} from '../gl/stage.js' */
/** @import {Photo} from './photo.js' */

import {Net} from './net.js';
import {pixels} from './photo.js';
import {Scene} from './scene.js';

/** @typedef {{id: string, backend: Backend}} Choice an artifact, and its backend */

/**
 * The content of a slot, with its times.
 *
 * @typedef {object} LoadedSlot
 * @property {Net} net
 * @property {ArtifactRow} row
 * @property {Backend} backend
 * @property {Loaded} loaded
 * @property {Record<string, {first: number, later: number[]}>} runs milliseconds, by module; `lift` is among them
 * @property {number} [total] milliseconds from the photo to the scene, of the last photo
 * @property {number | null} [runtimeBytes] size of the runtime over the network; null where no server answers
 */

/** @type {Record<EngineName, Backend[]>} */
export const BACKENDS = {tfjs: ['wasm', 'webgl', 'webgpu'], ort: ['wasm', 'webgpu'], litert: ['wasm', 'webgpu']};
const MOST_THREADS = 4;
const LATER_RUNS = 3;

/**
 * Return how many threads WebAssembly gets: half of the cores, for the other half draws the page, and one where the
 * page is not cross-origin isolated.
 */
function threads() {
  if (!globalThis.crossOriginIsolated) return 1;
  return Math.min(Math.max(Math.floor((navigator.hardwareConcurrency ?? 2) / 2), 1), MOST_THREADS);
}

export class Session {
  /**
   * @param {Catalog} catalog
   * @param {Stage} stage where the scenes live
   * @param {(progress: Progress) => void} onProgress called during downloads
   */
  constructor(catalog, stage, onProgress) {
    this.catalog = catalog;
    this.stage = stage;
    this.onProgress = onProgress;
    /** @type {Partial<Record<Slot, LoadedSlot>>} */
    this.slots = {};
  }

  /**
   * Return an artifact of the catalog.
   *
   * @param {string} id
   * @returns {ArtifactRow}
   * @throws {Error} where the catalog does not hold it
   */
  row(id) {
    const row = this.catalog.artifacts.find((artifact) => artifact.id === id);
    if (!row) throw new Error(`the catalog has no artifact ${id}`);
    return row;
  }

  /**
   * Return the content of a slot.
   *
   * @param {Slot} name
   * @returns {LoadedSlot}
   * @throws {Error} where it is empty
   */
  slot(name) {
    const slot = this.slots[name];
    if (!slot) throw new Error('no net is loaded');
    return slot;
  }

  /**
   * Load an artifact in a worker of its own. The former one stays until that has succeeded.
   *
   * @param {Choice} choice
   */
  async load({id, backend}) {
    const row = this.row(id);
    const net = new Net(this.onProgress);
    try {
      const loaded = await net.load({row, backend, threads: threads()});
      this.slots.main?.net.close();
      this.slots = {main: {net, row, backend, loaded, runs: {}}};
    } catch (error) {
      net.close();
      throw error;
    }
  }

  /**
   * Load a second artifact of the same target, in the same worker.
   *
   * @param {string} id
   */
  async loadOther(id) {
    const {net, backend} = this.slot('main');
    const row = this.row(id);
    const loaded = await net.load({row, backend, threads: threads()}, 'other');
    this.slots.other = {net, row, backend, loaded, runs: {}};
  }

  /**
   * Close the second artifact.
   *
   * @returns {Promise<void>}
   */
  async dropOther() {
    delete this.slots.other;
    await this.slot('main').net.drop('other');
  }

  /**
   * Return the size of the runtime over the network.
   *
   * @returns {Promise<number | null>} bytes; null where no server answers
   */
  async runtimeBytes() {
    const slot = this.slot('main');
    slot.runtimeBytes ??= await slot.net.runtimeBytes().catch(() => null);
    return slot.runtimeBytes;
  }

  /**
   * Make a scene of a photo: its features once, each head on them, then the layers.
   *
   * @param {Photo} photo
   * @param {Slot} [name]
   * @returns {Promise<Scene>}
   */
  async analyze(photo, name = 'main') {
    const started = performance.now();
    const slot = this.slot(name);
    const {net, row} = slot;
    const image = pixels(photo.preview);
    await this.timed(slot, 'encoder', () => net.encode(image, name));
    const heads = Object.fromEntries(Object.entries(row.modules).map(([head, {outputs}]) => [outputs[0].judge, head]));
    const depth = await this.head(name, heads['relative-depth']);
    const alpha = await this.head(name, heads['alpha-matte']);
    const facing = heads['surface-normals'];
    const normals = facing ? await this.head(name, facing) : null;
    const [height, width] = row.size;
    const guide = pixels(photo.guide);
    const layers = await this.timed(slot, 'lift', () => net.lift({guide, depth, alpha, net: {width, height}}));
    const scene = new Scene(this.stage, photo, {width, height, depth, alpha, normals}, layers);
    slot.total = performance.now() - started;
    return scene;
  }

  /**
   * Run one head on the features of the photo that was analyzed last.
   *
   * @param {Slot} name
   * @param {string} head
   */
  async head(name, head) {
    const slot = this.slot(name);
    const {values} = await this.timed(slot, head, () => slot.net.head(head, name));
    return values;
  }

  /**
   * Run the heads again, for the inspector's times of later runs.
   *
   * @returns {Promise<void>}
   */
  async runHeadsAgain() {
    const heads = Object.keys(this.slot('main').row.modules).filter((name) => name !== 'encoder');
    for (let round = 0; round < LATER_RUNS; round++) for (const head of heads) await this.head('main', head);
  }

  /**
   * Run some work of the net and record its time.
   *
   * @template {Timed} Result
   * @param {LoadedSlot} slot
   * @param {string} name of the module
   * @param {() => Promise<Result>} work
   * @returns {Promise<Result>}
   */
  async timed({runs}, name, work) {
    const result = await work();
    if (runs[name]) runs[name].later.push(result.ms);
    else runs[name] = {first: result.ms, later: []};
    return result;
  }
}
