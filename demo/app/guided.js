// The guided filter with a colour guide (He, Sun, Tang, 2010), as coefficients: at each pixel four numbers (r, g, b, 1)
// whose product with the photo's colour is the filtered value. They are smooth, so they may be computed on a small
// picture and applied to the photo at its own size (the fast guided filter, 2015): the map then follows its edges.

import {mean} from './fields.js';

const PAIRS = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]];

// guide: three channels in [0, 1]. `radius` in pixels, `epsilon` the variance of colour that counts as an edge.
export class Guide {
  constructor(channels, width, height, radius, epsilon) {
    Object.assign(this, {channels, width, height, radius, epsilon});
    this.means = channels.map((channel) => this.mean(channel));
    this.spreads = PAIRS.map(([i, j]) => this.covariance(channels[i], channels[j], this.means[i], this.means[j]));
  }

  mean(values) {
    return mean(values, this.width, this.height, this.radius);
  }

  covariance(a, b, meanA, meanB) {
    const made = this.mean(a.map((value, index) => value * b[index]));
    return made.map((value, index) => value - meanA[index] * meanB[index]);
  }

  // Float32Array [height, width, 4]
  fit(values) {
    const center = this.mean(values);
    const shared = this.channels.map((channel, index) => this.covariance(channel, values, this.means[index], center));
    const count = values.length;
    const slopes = [new Float32Array(count), new Float32Array(count), new Float32Array(count)];
    const offset = new Float32Array(count);
    for (let index = 0; index < count; index++) {
      const solved = this.solve(index, shared[0][index], shared[1][index], shared[2][index]);
      let constant = center[index];
      for (let channel = 0; channel < 3; channel++) {
        slopes[channel][index] = solved[channel];
        constant -= solved[channel] * this.means[channel][index];
      }
      offset[index] = constant;
    }
    const smooth = [...slopes, offset].map((each) => this.mean(each));
    const made = new Float32Array(count * 4);
    smooth.forEach((each, channel) => each.forEach((value, index) => (made[index * 4 + channel] = value)));
    return made;
  }

  // (covariance + epsilon I)^-1 v, by cofactors of the symmetric matrix.
  solve(index, x, y, z) {
    const e = this.epsilon;
    const [rr, rg, rb, gg, gb, bb] = this.spreads.map((spread) => spread[index]);
    const a = rr + e;
    const d = gg + e;
    const f = bb + e;
    const c00 = d * f - gb * gb;
    const c01 = rb * gb - rg * f;
    const c02 = rg * gb - rb * d;
    const c11 = a * f - rb * rb;
    const c12 = rg * rb - a * gb;
    const c22 = a * d - rg * rg;
    const scale = 1 / (a * c00 + rg * c01 + rb * c02);
    return [(c00 * x + c01 * y + c02 * z) * scale, (c01 * x + c11 * y + c12 * z) * scale, (c02 * x + c12 * y + c22 * z) * scale];
  }
}
