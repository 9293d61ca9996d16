// The model's preprocessing, as every artifact.json states it: the whole photo is stretched to the model's size,
// bilinear, and antialiased where it shrinks. This is Pillow's BILINEAR, with its rounding to bytes between the two
// passes, so that the net gets the same bytes here as in Python.

/** @import {Rgba} from '../types.d.ts' */

/** @typedef {{first: number, weights: number[]}} Window source index of the first weight, fixed-point weights */

const BITS = 22; // of Pillow's fixed-point weights

/**
 * Return, for each target index, the triangle filter over the source.
 *
 * @param {number} from source length
 * @param {number} to target length
 * @returns {Window[]}
 */
function triangles(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({length: to}, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const last = Math.min(Math.trunc(center + reach + 0.5), from);
    const raw = [];
    for (let position = first; position < last; position++) {
      raw.push(Math.max(1 - Math.abs((position - center + 0.5) / reach), 0));
    }
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    return {first, weights: raw.map((weight) => Math.round((weight / total) * 2 ** BITS))};
  });
}

/**
 * Round a fixed-point sum to a byte.
 *
 * @param {number} sum
 */
const toByte = (sum) => Math.min(Math.max(Math.floor((sum + 2 ** (BITS - 1)) / 2 ** BITS), 0), 255);

/**
 * Resize an image to the model's size; alpha is dropped.
 *
 * @param {Rgba} image
 * @param {number} toWidth
 * @param {number} toHeight
 * @returns {Uint8Array} [toHeight, toWidth, 3]
 */
export function resize({data, width, height}, toWidth, toHeight) {
  const across = triangles(width, toWidth);
  const down = triangles(height, toHeight);
  const narrow = new Uint8Array(height * toWidth * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < toWidth; x++) {
      const {first, weights} = across[x];
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        const start = (y * width + first) * 4 + channel;
        for (let index = 0; index < weights.length; index++) sum += data[start + index * 4] * weights[index];
        narrow[(y * toWidth + x) * 3 + channel] = toByte(sum);
      }
    }
  }
  const result = new Uint8Array(toHeight * toWidth * 3);
  const row = toWidth * 3;
  for (let y = 0; y < toHeight; y++) {
    const {first, weights} = down[y];
    for (let item = 0; item < row; item++) {
      let sum = 0;
      for (let index = 0; index < weights.length; index++) sum += narrow[(first + index) * row + item] * weights[index];
      result[y * row + item] = toByte(sum);
    }
  }
  return result;
}
