// The net as the page uses it: which artifact in which runtime, what a photo costs, and scenes made of photos.

import {Net} from './net.js';
import {pixels} from './photo.js';
import {Scene} from './scene.js';

export const BACKENDS = {tfjs: ['wasm', 'webgl', 'webgpu'], ort: ['wasm', 'webgpu'], litert: ['wasm', 'webgpu']};

// Half of the cores: the other half draws the page. One where the browser gives WebAssembly no threads.
const threads = () =>
  globalThis.crossOriginIsolated ? Math.min(Math.max(Math.floor((navigator.hardwareConcurrency ?? 2) / 2), 1), 4) : 1;

export class Session {
  constructor(catalog, stage, onProgress) {
    Object.assign(this, {catalog, stage, onProgress, slots: {}});
  }

  row(id) {
    return this.catalog.artifacts.find((row) => row.id === id);
  }

  // Loads an artifact, in a worker of its own; the former one stays until that has succeeded.
  async load({id, backend}) {
    const row = this.row(id);
    const net = new Net(this.onProgress);
    try {
      const loaded = await net.load({row, backend, threads: threads()});
      this.net?.close();
      Object.assign(this, {net, slots: {main: {row, backend, loaded, runs: {}}}});
    } catch (error) {
      net.close();
      throw error;
    }
  }

  // A second artifact of the same target, in the same worker.
  async loadOther(id) {
    const {backend} = this.slots.main;
    const row = this.row(id);
    const loaded = await this.net.load({row, backend, threads: threads()}, 'other');
    this.slots.other = {row, backend, loaded, runs: {}};
  }

  // Bytes of the runtime over the wire; null where no server answers.
  async weigh() {
    const {main} = this.slots;
    main.weight ??= await this.net.weigh().catch(() => null);
    return main.weight;
  }

  async drop(slot) {
    delete this.slots[slot];
    await this.net.drop(slot);
  }

  // A photo (photo.js) to a Scene: features once, then each head on them.
  async see(photo, slot = 'main') {
    const started = performance.now();
    const image = pixels(photo.preview);
    const {row} = this.slots[slot];
    await this.run(slot, 'encoder', () => this.net.encode(image, slot));
    const heads = Object.fromEntries(Object.entries(row.modules).map(([name, {outputs}]) => [outputs[0].judge, name]));
    const depth = await this.head(slot, heads['relative-depth']);
    const alpha = await this.head(slot, heads['alpha-matte']);
    const [height, width] = row.size;
    const guide = pixels(photo.guide);
    const lifted = await this.run(slot, 'lift', () => this.net.lift({guide, depth, alpha, net: {width, height}}));
    const scene = new Scene(this.stage, photo, {width, height, depth, alpha}, lifted);
    this.slots[slot].seen = performance.now() - started;
    return scene;
  }

  async head(slot, name) {
    const {values} = await this.run(slot, name, () => this.net.head(name, slot));
    return values;
  }

  // Later runs, for the inspector: the features of the photo that was seen last are still there.
  async again(slot = 'main') {
    const heads = Object.keys(this.slots[slot].row.modules).filter((name) => name !== 'encoder');
    for (let round = 0; round < 3; round++) for (const name of heads) await this.head(slot, name);
  }

  async run(slot, name, work) {
    const made = await work();
    const {runs} = this.slots[slot];
    if (runs[name]) runs[name].later.push(made.ms);
    else runs[name] = {first: made.ms, later: []};
    return made;
  }
}
