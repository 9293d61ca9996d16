// The picture at the photo's own size: decoded again, rendered in tiles, put together on a canvas, and coded.

import {canvasOf, decode, PhotoError} from './photo.js';
import {View} from '../gl/view.js';

const TILE = 2048; // a side, margins included: 16 MB a texture
const GRID = 64; // tiles begin at multiples, so that their mip levels meet
const QUALITY = 0.93;

// onProgress(share). -> Blob. Raises PhotoError when the browser has no room for the picture.
export async function save({stage, scene, mode, settings, type, tile: side = TILE}, onProgress = () => {}) {
  const {file, name} = scene.photo;
  const bitmap = await decode(file, name);
  try {
    const {width, height} = bitmap;
    const {canvas, context} = roomFor(width, height);
    const margin = Math.ceil(mode.margin(settings) * Math.hypot(width, height) * 1.1) + GRID;
    const tiles = [...cover(width, height, margin, side)];
    for (const [index, tile] of tiles.entries()) {
      const pixels = renderTile({stage, scene, mode, settings}, bitmap, tile);
      context.putImageData(pixels, tile.inner.x, tile.inner.y);
      onProgress((index + 1) / tiles.length);
      await new Promise((resolve) => setTimeout(resolve)); // the page stays alive between tiles
    }
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));
    canvas.width = canvas.height = 0; // Safari counts it until it is collected
    if (!blob) throw new PhotoError('the browser could not code a picture of this size');
    return blob;
  } finally {
    bitmap.close();
  }
}

// Some phones give a canvas that is larger than they can hold, and leave it blank.
function roomFor(width, height) {
  const made = canvasOf(width, height);
  made.context.fillRect(width - 1, height - 1, 1, 1);
  if (!made.context.getImageData(width - 1, height - 1, 1, 1).data[3]) {
    throw new PhotoError(`this browser cannot hold a picture of ${width} × ${height}`);
  }
  made.context.clearRect(width - 1, height - 1, 1, 1);
  return made;
}

// Rectangles `outer` that are rendered and `inner` that are kept of them; the inner ones tile the picture.
export function* cover(width, height, margin, side) {
  const spans = (size) => {
    if (size <= side) return [{from: 0, to: size, start: 0, end: size}];
    const step = Math.max(Math.floor((side - 2 * margin) / GRID), 2) * GRID;
    const found = [];
    for (let from = 0; from < size; from += step) {
      const to = Math.min(from + step, size);
      found.push({
        from,
        to,
        start: Math.max(Math.floor((from - margin) / GRID) * GRID, 0),
        end: Math.min(to + margin, size),
      });
    }
    return found;
  };
  for (const y of spans(height)) {
    for (const x of spans(width)) {
      yield {
        outer: {x: x.start, y: y.start, width: x.end - x.start, height: y.end - y.start},
        inner: {x: x.from, y: y.from, width: x.to - x.from, height: y.to - y.from},
      };
    }
  }
}

function renderTile({stage, scene, mode, settings}, bitmap, {outer, inner}) {
  const {canvas, context} = canvasOf(outer.width, outer.height);
  context.fillStyle = 'white';
  context.fillRect(0, 0, outer.width, outer.height);
  context.drawImage(bitmap, -outer.x, -outer.y);
  const region = [
    outer.x / bitmap.width,
    outer.y / bitmap.height,
    outer.width / bitmap.width,
    outer.height / bitmap.height,
  ];
  const view = new View(stage, scene.lifted, canvas, region);
  const output = stage.target(outer.width, outer.height);
  try {
    mode.render({stage, scene, view, settings, output});
    const part = {x: inner.x - outer.x, y: inner.y - outer.y, width: inner.width, height: inner.height};
    return new ImageData(stage.read(output, part), inner.width, inner.height);
  } finally {
    view.free();
    stage.free(output);
    canvas.width = canvas.height = 0;
  }
}
