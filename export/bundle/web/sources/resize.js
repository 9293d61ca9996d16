// The model's preprocessing, as every artifact.json states it: the whole photo is stretched to the model's size,
// bilinear, and antialiased where it shrinks. This is Pillow's BILINEAR, with its rounding to bytes between the two
// passes, so that the net gets the same bytes here as in Python.

/** @import {Floats, Rgba} from './types.d.ts' */

/**
 * The triangle filters of one axis: for each target index, `count` weights from `first[index]` on, at `index * count`.
 *
 * @typedef {object} Filters
 * @property {number} count
 * @property {Int32Array} first
 * @property {Float64Array} weights sum to 1; those beyond the source are 0
 */

const BITS = 22; // of Pillow's fixed-point weights
const HALF = 1 << (BITS - 1);

/**
 * Return, for each target index, the triangle filter over the source.
 *
 * @param {number} from source length
 * @param {number} to target length
 * @returns {Filters}
 */
function triangles(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  const count = Math.min(Math.ceil(reach) * 2 + 1, from);
  const filters = {count, first: new Int32Array(to), weights: new Float64Array(to * count)};
  for (let index = 0; index < to; index++) {
    const center = (index + 0.5) * scale;
    const begin = Math.max(Math.trunc(center - reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + reach + 0.5), from);
    // A window at the far edge begins earlier, with weights of 0, so that all windows lie inside the source.
    const first = Math.min(begin, from - count);
    let total = 0;
    for (let position = begin; position < end; position++) {
      const weight = Math.max(1 - Math.abs((position - center + 0.5) / reach), 0);
      filters.weights[index * count + position - first] = weight;
      total += weight;
    }
    for (let item = index * count; item < (index + 1) * count; item++) filters.weights[item] /= total;
    filters.first[index] = first;
  }
  return filters;
}

/**
 * Return fixed-point weights. A sum of 256 bytes times these fits 31 bits, because weights sum to 2^22.
 *
 * @param {Filters} filters
 */
const fixed = ({weights}) => Int32Array.from(weights, (weight) => Math.round(weight * 2 ** BITS));

/**
 * Shrink or stretch rows of pixels, three or four bytes each.
 *
 * @param {Filters} filters
 * @param {Uint8Array | Uint8ClampedArray} data [rows, width, bytes]
 * @param {{rows: number, width: number, bytes: number}} shape of `data`
 * @param {Uint8Array} result [rows, filters.first.length, 3]
 */
function passAcross(filters, data, {rows, width, bytes}, result) {
  const {count, first} = filters;
  const weights = fixed(filters);
  let target = 0;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < first.length; x++) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let source = (y * width + first[x]) * bytes;
      for (let item = x * count; item < (x + 1) * count; item++, source += bytes) {
        const weight = weights[item];
        red = (red + Math.imul(data[source], weight)) | 0;
        green = (green + Math.imul(data[source + 1], weight)) | 0;
        blue = (blue + Math.imul(data[source + 2], weight)) | 0;
      }
      result[target++] = red >> BITS;
      result[target++] = green >> BITS;
      result[target++] = blue >> BITS;
    }
  }
}

/** Sums the rows of an image into fewer or more rows, as they arrive. */
class PassDown {
  /**
   * @param {number} height of the image
   * @param {number} toHeight
   * @param {number} row elements of a row
   */
  constructor(height, toHeight, row) {
    this.filters = triangles(height, toHeight);
    this.weights = fixed(this.filters);
    this.row = row;
    this.sums = new Int32Array(toHeight * row).fill(HALF);
    this.next = 0; // the first target row that still needs rows
  }

  /**
   * Add one row to every target row that has a weight for it.
   *
   * @param {Uint8Array | Uint8ClampedArray} data
   * @param {{start: number, y: number, bytes: number}} where the row begins in `data`, its index, bytes per pixel
   */
  add(data, {start, y, bytes}) {
    const {sums, weights, row} = this;
    const {count, first} = this.filters;
    while (this.next < first.length && first[this.next] + count <= y) this.next++;
    for (let target = this.next; target < first.length && first[target] <= y; target++) {
      const weight = weights[target * count + y - first[target]];
      if (!weight) continue;
      let sum = target * row;
      for (let source = start; sum < (target + 1) * row; source += bytes) {
        sums[sum++] += Math.imul(data[source], weight);
        sums[sum++] += Math.imul(data[source + 1], weight);
        sums[sum++] += Math.imul(data[source + 2], weight);
      }
    }
  }

  /** Return the target rows as bytes. */
  finish() {
    const {sums} = this;
    const result = new Uint8Array(sums.length);
    for (let index = 0; index < sums.length; index++) result[index] = sums[index] >> BITS;
    return result;
  }
}

/** Resize an image that arrives in strips of rows, so that a photo of any size takes little memory. */
export class Resizer {
  /**
   * @param {number} width of the image
   * @param {number} height
   * @param {number} toWidth
   * @param {number} toHeight
   */
  constructor(width, height, toWidth, toHeight) {
    this.width = width;
    this.toWidth = toWidth;
    this.toHeight = toHeight;
    // Pillow 13 sums the rows first where that saves the more.
    this.downFirst = toHeight < height && height - toHeight > 2 * (width - toWidth);
    this.across = triangles(width, toWidth);
    this.down = new PassDown(height, toHeight, (this.downFirst ? width : toWidth) * 3);
  }

  /**
   * Take the next rows; alpha is dropped.
   *
   * @param {Uint8ClampedArray} data RGBA
   * @param {number} begin index of the first row
   * @param {number} end index behind the last one
   */
  rows(data, begin, end) {
    const {width, toWidth, down} = this;
    if (this.downFirst) {
      for (let y = begin; y < end; y++) down.add(data, {start: (y - begin) * width * 4, y, bytes: 4});
      return;
    }
    const narrow = new Uint8Array((end - begin) * toWidth * 3);
    passAcross(this.across, data, {rows: end - begin, width, bytes: 4}, narrow);
    for (let y = begin; y < end; y++) down.add(narrow, {start: (y - begin) * toWidth * 3, y, bytes: 3});
  }

  /**
   * Return the resized image, once all rows are there.
   *
   * @returns {Uint8Array<ArrayBuffer>} [toHeight, toWidth, 3]
   */
  finish() {
    const {width, toWidth, toHeight} = this;
    const rows = this.down.finish();
    if (!this.downFirst) return rows;
    const result = new Uint8Array(toHeight * toWidth * 3);
    passAcross(this.across, rows, {rows: toHeight, width, bytes: 3}, result);
    return result;
  }
}

/**
 * Resize an image to the model's size; alpha is dropped.
 *
 * @param {Rgba} image
 * @param {number} toWidth
 * @param {number} toHeight
 * @returns {Uint8Array<ArrayBuffer>} [toHeight, toWidth, 3]
 */
export function resize({data, width, height}, toWidth, toHeight) {
  const resizer = new Resizer(width, height, toWidth, toHeight);
  resizer.rows(data, 0, height);
  return resizer.finish();
}

/**
 * Resize a map of floats: bilinear, and antialiased where it shrinks.
 *
 * @param {ArrayLike<number>} data [height, width]
 * @param {[number, number]} from height, width
 * @param {[number, number]} to height, width
 * @returns {Floats}
 */
export function resizeFloats(data, [height, width], [toHeight, toWidth]) {
  const [across, down] = [triangles(width, toWidth), triangles(height, toHeight)];
  const narrow = new Float32Array(height * toWidth);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < toWidth; x++) {
      let sum = 0;
      for (let index = 0; index < across.count; index++) {
        sum += data[y * width + across.first[x] + index] * across.weights[x * across.count + index];
      }
      narrow[y * toWidth + x] = sum;
    }
  }
  const result = new Float32Array(toHeight * toWidth);
  for (let y = 0; y < toHeight; y++) {
    for (let index = 0; index < down.count; index++) {
      const weight = down.weights[y * down.count + index];
      const source = (down.first[y] + index) * toWidth;
      if (weight) for (let x = 0; x < toWidth; x++) result[y * toWidth + x] += narrow[source + x] * weight;
    }
  }
  return result;
}
