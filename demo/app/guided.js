// The guided filter with a colour guide (He, Sun, Tang: Guided Image Filtering, 2010), as coefficients: at each pixel
// four numbers whose dot product with the photo's colour (r, g, b, 1) is the filtered value. The coefficients are
// smooth, so they may be computed on a small picture and applied to the photo at its own size (He, Sun: Fast Guided
// Filter, 2015): the filtered map then follows the photo's edges.

/** @import {Floats} from '../types.d.ts' */

import {boxMean} from './filters.js';

// The upper triangle of the 3 x 3 covariance matrix of the guide's channels: rr, rg, rb, gg, gb, bb.
const PAIRS = [
  [0, 0],
  [0, 1],
  [0, 2],
  [1, 1],
  [1, 2],
  [2, 2],
];

export class GuidedFilter {
  /**
   * Prepare the filter for one guide image.
   *
   * @param {Float32Array[]} channels the guide's three planes, in [0, 1]
   * @param {number} width
   * @param {number} height
   * @param {number} radius of the window, in pixels
   */
  constructor(channels, width, height, radius) {
    this.channels = channels;
    this.width = width;
    this.height = height;
    this.radius = radius;
    this.means = channels.map((channel) => this.mean(channel));
    this.covariances = PAIRS.map(([i, j]) => this.covariance(channels[i], channels[j], this.means[i], this.means[j]));
  }

  /**
   * Return the mean over the filter's window.
   *
   * @param {Float32Array} plane
   * @returns {Floats}
   */
  mean(plane) {
    return boxMean(plane, this.width, this.height, this.radius);
  }

  /**
   * Return the covariance of two planes over the filter's window.
   *
   * @param {Float32Array} a
   * @param {Float32Array} b
   * @param {Float32Array} meanA
   * @param {Float32Array} meanB
   * @returns {Floats}
   */
  covariance(a, b, meanA, meanB) {
    const product = new Float32Array(a.length);
    for (let index = 0; index < product.length; index++) product[index] = a[index] * b[index];
    const result = this.mean(product);
    for (let index = 0; index < product.length; index++) result[index] -= meanA[index] * meanB[index];
    return result;
  }

  /**
   * Fit a plane to the guide.
   *
   * @param {Float32Array} plane of the guide's size
   * @param {number} epsilon the variance of colour that counts as an edge
   * @returns {Floats} coefficients [height, width, 4]
   */
  fit(plane, epsilon) {
    const mean = this.mean(plane);
    const [x, y, z] = this.channels.map((channel, index) => this.covariance(channel, plane, this.means[index], mean));
    const slopes = this.solve(x, y, z, epsilon);
    const offset = mean.slice();
    slopes.forEach((slope, channel) => {
      const guideMean = this.means[channel];
      for (let index = 0; index < offset.length; index++) offset[index] -= slope[index] * guideMean[index];
    });
    const result = new Float32Array(plane.length * 4);
    [...slopes, offset].forEach((coefficient, channel) => {
      const smooth = this.mean(coefficient);
      for (let index = 0; index < smooth.length; index++) result[index * 4 + channel] = smooth[index];
    });
    return result;
  }

  /**
   * Solve `(covariance + epsilon * I) * slope = (x, y, z)` at every pixel, by cofactors of the symmetric matrix.
   *
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {Float32Array} z
   * @param {number} epsilon
   * @returns {Floats[]} three planes
   */
  solve(x, y, z, epsilon) {
    const slopes = [x, y, z].map(({length}) => new Float32Array(length));
    const [rr, rg, rb, gg, gb, bb] = this.covariances;
    for (let index = 0; index < x.length; index++) {
      const a = rr[index] + epsilon;
      const b = rg[index];
      const c = rb[index];
      const d = gg[index] + epsilon;
      const e = gb[index];
      const f = bb[index] + epsilon;
      const c00 = d * f - e * e;
      const c01 = c * e - b * f;
      const c02 = b * e - c * d;
      const c12 = b * c - a * e;
      const scale = 1 / (a * c00 + b * c01 + c * c02);
      slopes[0][index] = (c00 * x[index] + c01 * y[index] + c02 * z[index]) * scale;
      slopes[1][index] = (c01 * x[index] + (a * f - c * c) * y[index] + c12 * z[index]) * scale;
      slopes[2][index] = (c02 * x[index] + c12 * y[index] + (a * d - b * b) * z[index]) * scale;
    }
    return slopes;
  }
}
