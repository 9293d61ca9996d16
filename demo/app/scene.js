// The scene that a mode draws: one photo with its maps, at preview size on the graphics card and as arrays.

/** @import {Floats, Layers, NetMaps, Size} from '../types.d.ts' */
/** @import {Stage, Texture} from '../gl/stage.js' */
/** @import {Photo} from './photo.js' */

import {Lifted, View} from '../gl/view.js';

/**
 * The maps of a photo, [height, width] of the preview, first row on top; larger depths are nearer.
 *
 * @typedef {{alpha: Floats, depth: Floats, people: Floats, behind: Floats}} Maps `depth` is the depth of the visible
 *   surface, `people` and `behind` are the depths of the two layers
 */

/**
 * One person: a connected region of the matte.
 *
 * @typedef {object} Person
 * @property {number} size pixels of the net's matte
 * @property {[number, number]} range depths from the 10th to the 90th percentile
 * @property {number} median depth
 * @property {[number, number]} extent depths from the 1st to the 99th percentile
 */

const QUANTILES = 65;
const LEAST_PERSON = 0.01; // of the picture: a smaller region is no person
const SEARCH_STEPS = 24;

export class Scene {
  /**
   * @param {Stage} stage
   * @param {Photo} photo
   * @param {NetMaps} net
   * @param {Layers} layers of lift.js
   */
  constructor(stage, photo, net, layers) {
    this.stage = stage;
    this.photo = photo;
    this.net = net;
    this.lifted = new Lifted(stage, layers);
    this.view = new View(stage, this.lifted, photo.preview);
    this.width = photo.preview.width;
    this.height = photo.preview.height;
    /** @type {Maps | null} */
    this.maps = null;
    /** @type {Texture | null} the net's surface normals, (n + 1) / 2 in red, green and blue */
    this.normals = net.normals ? stage.texture(packedNormals(net.normals, net)) : null;
    this.people = findPeople(net);
    this.quantiles = quantiles(this.pixels.depth);
  }

  /**
   * The maps, read from the graphics card once.
   *
   * @returns {Maps}
   */
  get pixels() {
    if (!this.maps) {
      const values = this.stage.readFloats(this.view.maps);
      /** @param {number} channel */
      const plane = (channel) => {
        const result = new Float32Array(this.width * this.height);
        for (let index = 0; index < result.length; index++) result[index] = values[index * 4 + channel];
        return result;
      };
      this.maps = {alpha: plane(0), depth: plane(3), people: plane(1), behind: plane(2)};
    }
    return this.maps;
  }

  /**
   * Return alpha and depth at a point of the photo. The depth is the person's or the background's, never between.
   *
   * @param {number} x in [0, 1]
   * @param {number} y in [0, 1]
   * @returns {{alpha: number, depth: number}}
   */
  at(x, y) {
    const column = Math.min(Math.floor(x * this.width), this.width - 1);
    const row = Math.min(Math.floor(y * this.height), this.height - 1);
    const index = Math.max(row, 0) * this.width + Math.max(column, 0);
    const {alpha, people, behind} = this.pixels;
    return {alpha: alpha[index], depth: alpha[index] > 0.5 ? people[index] : behind[index]};
  }

  /**
   * Return the depth that a slider's position stands for: the inverse of `sliderOf`.
   *
   * @param {number} position in [0, 1], far to near
   * @returns {number}
   */
  depthOf(position) {
    let low = this.quantiles[0];
    let high = this.quantiles[QUANTILES - 1];
    for (let step = 0; step < SEARCH_STEPS; step++) {
      const middle = (low + high) / 2;
      if (this.sliderOf(middle) < position) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  /**
   * Return the slider's position for a depth. It is half linear and half the depth's rank among the photo's depths:
   * these lie close together in the people, where a hand wants to be precise.
   *
   * @param {number} depth
   * @returns {number} in [0, 1], far to near
   */
  sliderOf(depth) {
    const {quantiles: table} = this;
    const last = table.length - 1;
    const linear = (depth - table[0]) / Math.max(table[last] - table[0], 1e-6);
    let low = 0;
    while (low < last && table[low + 1] < depth) low++;
    const inside = (depth - table[low]) / Math.max((table[low + 1] ?? table[low]) - table[low], 1e-6);
    const rank = (low + Math.min(Math.max(inside, 0), 1)) / last;
    return Math.min(Math.max(0.5 * linear + 0.5 * rank, 0), 1);
  }

  /** Free the scene's textures. */
  free() {
    this.view.free();
    this.lifted.free();
    if (this.normals) this.stage.free(this.normals);
  }
}

/**
 * Pack normals [3, height, width] into RGBA bytes, which every graphics card filters.
 *
 * @param {Float32Array} normals
 * @param {Size} size
 * @returns {{width: number, height: number, data: Uint8Array}}
 */
export function packedNormals(normals, {width, height}) {
  const plane = width * height;
  const data = new Uint8Array(plane * 4).fill(255);
  for (let index = 0; index < plane; index++) {
    for (let axis = 0; axis < 3; axis++) {
      data[index * 4 + axis] = Math.round((normals[axis * plane + index] * 0.5 + 0.5) * 255);
    }
  }
  return {width, height, data};
}

/**
 * Return evenly spaced quantiles, from the 1st to the 99th percentile, of every 16th pixel.
 *
 * @param {Float32Array} values
 * @returns {number[]} QUANTILES of them, ascending
 */
function quantiles(values) {
  const sorted = values.filter((_, index) => index % 16 === 0).sort();
  return Array.from({length: QUANTILES}, (_, step) => {
    const share = 0.01 + (0.98 * step) / (QUANTILES - 1);
    return sorted[Math.round(share * (sorted.length - 1))];
  });
}

/**
 * Return the people of a photo, largest first: the connected regions of the matte, without small ones.
 *
 * @param {NetMaps} net
 * @returns {Person[]}
 */
function findPeople({alpha, depth, width, height}) {
  const seen = new Uint8Array(alpha.length);
  const people = [];
  for (let start = 0; start < alpha.length; start++) {
    if (seen[start] || alpha[start] <= 0.5) continue;
    const region = flood(alpha, seen, start, {width, height});
    if (region.length < alpha.length * LEAST_PERSON) continue;
    const sorted = Float32Array.from(region, (index) => depth[index]).sort();
    /** @param {number} share */
    const quantile = (share) => sorted[Math.round(share * (sorted.length - 1))];
    people.push({
      size: region.length,
      range: /** @type {[number, number]} */ ([quantile(0.1), quantile(0.9)]),
      median: quantile(0.5),
      extent: /** @type {[number, number]} */ ([quantile(0.01), quantile(0.99)]),
    });
  }
  return people.sort((a, b) => b.size - a.size);
}

/**
 * Return the indices of the region around `start` where alpha is above 0.5, connected over four neighbours, and mark
 * them as seen.
 *
 * @param {Float32Array} alpha
 * @param {Uint8Array} seen
 * @param {number} start
 * @param {{width: number, height: number}} size
 * @returns {number[]}
 */
function flood(alpha, seen, start, {width, height}) {
  const queue = [start];
  seen[start] = 1;
  /** @param {number} index */
  const visit = (index) => {
    if (seen[index] || alpha[index] <= 0.5) return;
    seen[index] = 1;
    queue.push(index);
  };
  for (let next = 0; next < queue.length; next++) {
    const index = queue[next];
    const x = index % width;
    if (x > 0) visit(index - 1);
    if (x < width - 1) visit(index + 1);
    if (index >= width) visit(index - width);
    if (index < width * (height - 1)) visit(index + width);
  }
  return queue;
}
