// Image filters on planes. A plane is one channel of an image: a Float32Array [height, width].

/** @import {Floats, Size} from '../types.d.ts' */

/** @typedef {Size & {planes: Float32Array[], weight: Float32Array}} Level One level of the pyramid of `fillUnknown`. */

/**
 * Resize a plane bilinearly: pixel centres aligned, edges repeated, no antialiasing.
 *
 * @param {Float32Array} plane
 * @param {number} width
 * @param {number} height
 * @param {number} toWidth
 * @param {number} toHeight
 * @returns {Floats}
 */
export function resizeBilinear(plane, width, height, toWidth, toHeight) {
  const result = new Float32Array(toWidth * toHeight);
  const columns = Array.from({length: toWidth}, (_, x) => neighbours(x, width, toWidth));
  for (let y = 0; y < toHeight; y++) {
    const [top, bottom, down] = neighbours(y, height, toHeight);
    for (let x = 0; x < toWidth; x++) {
      const [left, right, across] = columns[x];
      const above = plane[top * width + left] * (1 - across) + plane[top * width + right] * across;
      const below = plane[bottom * width + left] * (1 - across) + plane[bottom * width + right] * across;
      result[y * toWidth + x] = above * (1 - down) + below * down;
    }
  }
  return result;
}

/**
 * Return the two source indices that a target index lies between, and its position between them in [0, 1].
 *
 * @param {number} index
 * @param {number} from source length
 * @param {number} to target length
 * @returns {[low: number, high: number, fraction: number]}
 */
function neighbours(index, from, to) {
  const position = Math.min(Math.max(((index + 0.5) * from) / to - 0.5, 0), from - 1);
  const low = Math.floor(position);
  return [low, Math.min(low + 1, from - 1), position - low];
}

/**
 * Return the mean over the square window of `radius` around each pixel; at the border, over the part that lies inside.
 *
 * @param {Float32Array} plane
 * @param {number} width
 * @param {number} height
 * @param {number} radius in pixels
 * @returns {Floats}
 */
export function boxMean(plane, width, height, radius) {
  const rows = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) slidingMean(plane, rows, y * width, 1, width, radius);
  const result = new Float32Array(plane.length);
  for (let x = 0; x < width; x++) slidingMean(rows, result, x, width, height, radius);
  return result;
}

/**
 * Write the running mean along one row or column, in one pass whatever the radius.
 *
 * @param {Float32Array} source
 * @param {Float32Array} target
 * @param {number} start index of the first element
 * @param {number} step distance between elements: 1 for a row, the width for a column
 * @param {number} count
 * @param {number} radius
 */
function slidingMean(source, target, start, step, count, radius) {
  let sum = 0;
  let size = 0;
  for (let index = 0; index < Math.min(radius, count); index++) {
    sum += source[start + index * step];
    size++;
  }
  for (let index = 0; index < count; index++) {
    if (index + radius < count) {
      sum += source[start + (index + radius) * step];
      size++;
    }
    if (index - radius > 0) {
      sum -= source[start + (index - radius - 1) * step];
      size--;
    }
    target[start + index * step] = sum / size;
  }
}

/**
 * Dilate a plane: take the largest value of the square window of `radius` around each pixel.
 *
 * @param {Float32Array} plane
 * @param {number} width
 * @param {number} height
 * @param {number} radius in pixels
 * @returns {Floats}
 */
export function dilate(plane, width, height, radius) {
  const rows = new Float32Array(plane.length);
  const result = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) slidingMaximum(plane, rows, y * width, 1, width, radius);
  for (let x = 0; x < width; x++) slidingMaximum(rows, result, x, width, height, radius);
  return result;
}

/**
 * Write the running maximum along one row or column. Parameters as in `slidingMean`.
 *
 * @param {Float32Array} source
 * @param {Float32Array} target
 * @param {number} start
 * @param {number} step
 * @param {number} count
 * @param {number} radius
 */
function slidingMaximum(source, target, start, step, count, radius) {
  for (let index = 0; index < count; index++) {
    let maximum = -Infinity;
    const last = Math.min(index + radius, count - 1);
    for (let near = Math.max(index - radius, 0); near <= last; near++) {
      maximum = Math.max(maximum, source[start + near * step]);
    }
    target[start + index * step] = maximum;
  }
}

/**
 * Fill planes smoothly where their weight is small, from where it is large.
 *
 * Builds a pyramid of weighted means and reads it from coarse to fine. Where the weight is 1, values stay as they are.
 * Where no pixel has a weight, the result is 0.
 *
 * @param {Float32Array[]} planes
 * @param {Float32Array} weight in [0, 1], one for all planes
 * @param {number} width
 * @param {number} height
 * @returns {Float32Array[]}
 */
export function fillUnknown(planes, weight, width, height) {
  /** @type {Level} */
  let coarse = {planes, weight, width, height};
  const finer = [];
  while (coarse.width > 1 || coarse.height > 1) {
    finer.push(coarse);
    coarse = halve(coarse);
  }
  for (const level of finer.reverse()) {
    const {width: fromWidth, height: fromHeight, planes: means} = coarse;
    const filled = level.planes.map((plane, channel) => {
      const result = resizeBilinear(means[channel], fromWidth, fromHeight, level.width, level.height);
      for (let index = 0; index < result.length; index++) {
        result[index] += (plane[index] - result[index]) * level.weight[index];
      }
      return result;
    });
    coarse = {...level, planes: filled};
  }
  return coarse.planes;
}

/**
 * Return the next pyramid level: weighted means of 2 x 2 pixels, and their summed weight, at most 1.
 *
 * @param {Level} level
 * @returns {Level}
 */
function halve({planes, weight, width, height}) {
  const toWidth = Math.ceil(width / 2);
  const toHeight = Math.ceil(height / 2);
  /** @param {(index: number) => number} value */
  const sum = (value) => {
    const result = new Float32Array(toWidth * toHeight);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) result[(y >> 1) * toWidth + (x >> 1)] += value(y * width + x);
    }
    return result;
  };
  const total = sum((index) => weight[index]);
  const means = planes.map((plane) => {
    const result = sum((index) => plane[index] * weight[index]);
    for (let index = 0; index < result.length; index++) {
      result[index] = total[index] ? result[index] / total[index] : 0;
    }
    return result;
  });
  return {planes: means, weight: total.map((value) => Math.min(value, 1)), width: toWidth, height: toHeight};
}

/**
 * Return the Hermite step of GLSL's `smoothstep`. `low` may be larger than `high`: the step then falls.
 *
 * @param {number} low
 * @param {number} high
 * @param {number} value
 * @returns {number} in [0, 1]
 */
export function smoothstep(low, high, value) {
  const t = Math.min(Math.max((value - low) / (high - low), 0), 1);
  return t * t * (3 - 2 * t);
}
