// The picture at the photo's own size: decoded again, rendered in tiles, assembled on a canvas, and encoded.

/** @import {Stage} from '../gl/stage.js' */
/** @import {PaintedMode, Settings} from '../modes/types.d.ts' */
/** @import {Scene} from './scene.js' */

import {View} from '../gl/view.js';
import {canvasOf, decode, PhotoError} from './photo.js';

/** @typedef {{x: number, y: number, width: number, height: number}} Rectangle in pixels of the photo */
/** @typedef {{stage: Stage, scene: Scene, mode: PaintedMode, settings: Settings}} Job */

const TILE = 2048; // a side, margins included: 16 MB per texture
const GRID = 64; // tiles begin at multiples, so that their mip levels meet
const QUALITY = 0.93;

/**
 * Render a scene at the photo's own size.
 *
 * @param {Job & {type: string, tile?: number}} job `type` is a MIME type, `tile` a tile's side in pixels
 * @param {(share: number) => void} [onProgress] called with the share that is done, in [0, 1]
 * @returns {Promise<Blob>}
 * @throws {PhotoError} where the browser has no room for the picture
 */
export async function save({type, tile: side = TILE, ...job}, onProgress = () => {}) {
  const {scene, mode, settings} = job;
  const {file, name} = scene.photo;
  const bitmap = await decode(file, name);
  try {
    const {width, height} = bitmap;
    const {canvas, context} = roomFor(width, height);
    const margin = Math.ceil(mode.margin(settings) * Math.hypot(width, height) * 1.1) + GRID;
    const tiles = [...cover(width, height, margin, side)];
    for (const [index, tile] of tiles.entries()) {
      context.putImageData(renderTile(job, bitmap, tile), tile.inner.x, tile.inner.y);
      onProgress((index + 1) / tiles.length);
      await new Promise((resolve) => setTimeout(resolve)); // the page stays alive between tiles
    }
    /** @type {Blob | null} */
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));
    Object.assign(canvas, {width: 0, height: 0}); // Safari counts its memory until it is collected
    if (!blob) throw new PhotoError('the browser could not code a picture of this size');
    return blob;
  } finally {
    bitmap.close();
  }
}

/**
 * Make a canvas and prove that it holds pixels: some phones hand out one larger than they can hold, and leave it blank.
 *
 * @param {number} width
 * @param {number} height
 */
function roomFor(width, height) {
  const made = canvasOf(width, height);
  made.context.fillRect(width - 1, height - 1, 1, 1);
  if (!made.context.getImageData(width - 1, height - 1, 1, 1).data[3]) {
    throw new PhotoError(`this browser cannot hold a picture of ${width} × ${height}`);
  }
  made.context.clearRect(width - 1, height - 1, 1, 1);
  return made;
}

/**
 * Tile a picture. Each tile has an `outer` rectangle to render and an `inner` one to keep; the inner ones cover the
 * picture without overlap.
 *
 * @param {number} width
 * @param {number} height
 * @param {number} margin how far `outer` reaches beyond `inner`, at least
 * @param {number} side of an outer tile, where the margin leaves room for it
 * @returns {Generator<{outer: Rectangle, inner: Rectangle}>}
 */
export function* cover(width, height, margin, side) {
  for (const y of spans(height, margin, side)) {
    for (const x of spans(width, margin, side)) {
      yield {
        outer: {x: x.start, y: y.start, width: x.end - x.start, height: y.end - y.start},
        inner: {x: x.from, y: y.from, width: x.to - x.from, height: y.to - y.from},
      };
    }
  }
}

/**
 * Tile one axis: [from, to) is kept of [start, end).
 *
 * @param {number} size
 * @param {number} margin
 * @param {number} side
 * @returns {{from: number, to: number, start: number, end: number}[]}
 */
function spans(size, margin, side) {
  if (size <= side) return [{from: 0, to: size, start: 0, end: size}];
  const step = Math.max(Math.floor((side - 2 * margin) / GRID), 2) * GRID;
  const result = [];
  for (let from = 0; from < size; from += step) {
    const to = Math.min(from + step, size);
    const start = Math.max(Math.floor((from - margin) / GRID) * GRID, 0);
    result.push({from, to, start, end: Math.min(to + margin, size)});
  }
  return result;
}

/**
 * Render one tile and return the pixels of its inner rectangle.
 *
 * @param {Job} job
 * @param {ImageBitmap} bitmap the photo
 * @param {{outer: Rectangle, inner: Rectangle}} tile
 * @returns {ImageData}
 */
function renderTile({stage, scene, mode, settings}, bitmap, {outer, inner}) {
  const {canvas, context} = canvasOf(outer.width, outer.height);
  context.fillStyle = 'white';
  context.fillRect(0, 0, outer.width, outer.height);
  context.drawImage(bitmap, -outer.x, -outer.y);
  const {width, height} = bitmap;
  const view = new View(stage, scene.lifted, canvas, [
    outer.x / width,
    outer.y / height,
    outer.width / width,
    outer.height / height,
  ]);
  const output = stage.target(outer.width, outer.height);
  try {
    mode.render({stage, scene, view, settings, output});
    const part = {x: inner.x - outer.x, y: inner.y - outer.y, width: inner.width, height: inner.height};
    return new ImageData(stage.read(output, part), inner.width, inner.height);
  } finally {
    view.free();
    stage.free(output);
    Object.assign(canvas, {width: 0, height: 0});
  }
}
