// The guided filter with a colour guide (He, Sun, Tang, 2010), as coefficients: at each pixel four numbers (r, g, b, 1)
// whose product with the photo's colour is the filtered value. They are smooth, so they may be computed on a small
// picture and applied to the photo at its own size (the fast guided filter, 2015): the map then follows its edges.

import {mean} from './fields.js';

const PAIRS = [
  [0, 0],
  [0, 1],
  [0, 2],
  [1, 1],
  [1, 2],
  [2, 2],
];

// channels: three of the guide, in [0, 1]; `radius` in pixels.
export class Guide {
  constructor(channels, width, height, radius) {
    Object.assign(this, {channels, width, height, radius});
    this.means = channels.map((channel) => this.mean(channel));
    this.spreads = PAIRS.map(([i, j]) => this.covariance(channels[i], channels[j], this.means[i], this.means[j]));
  }

  mean(values) {
    return mean(values, this.width, this.height, this.radius);
  }

  covariance(a, b, meanA, meanB) {
    const made = new Float32Array(a.length);
    for (let index = 0; index < made.length; index++) made[index] = a[index] * b[index];
    const means = this.mean(made);
    for (let index = 0; index < made.length; index++) means[index] -= meanA[index] * meanB[index];
    return means;
  }

  // epsilon: the variance of colour that counts as an edge. -> Float32Array [height, width, 4]
  fit(values, epsilon) {
    const center = this.mean(values);
    const [x, y, z] = this.channels.map((channel, index) =>
      this.covariance(channel, values, this.means[index], center),
    );
    const slopes = this.solve(x, y, z, epsilon);
    const offset = center.slice();
    slopes.forEach((slope, channel) => {
      const own = this.means[channel];
      for (let index = 0; index < offset.length; index++) offset[index] -= slope[index] * own[index];
    });
    const made = new Float32Array(values.length * 4);
    [...slopes, offset].forEach((each, channel) => {
      const smooth = this.mean(each);
      for (let index = 0; index < smooth.length; index++) made[index * 4 + channel] = smooth[index];
    });
    return made;
  }

  // (covariance + epsilon I)^-1 (x, y, z) of every pixel, by cofactors of the symmetric matrix.
  solve(x, y, z, epsilon) {
    const made = [x, y, z].map(({length}) => new Float32Array(length));
    const [rr, rg, rb, gg, gb, bb] = this.spreads;
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
      made[0][index] = (c00 * x[index] + c01 * y[index] + c02 * z[index]) * scale;
      made[1][index] = (c01 * x[index] + (a * f - c * c) * y[index] + c12 * z[index]) * scale;
      made[2][index] = (c02 * x[index] + c12 * y[index] + (a * d - b * b) * z[index]) * scale;
    }
    return made;
  }
}
