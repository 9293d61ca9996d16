// Results of a net.

/** @import {Rgba, StepOutput} from './types.d.ts' */

import {resizeFloats} from './resize.js';

/** @typedef {Float32Array | Float64Array | Int32Array | Uint8Array} Elements */

/** An output: its elements in the reference's layout, and its shape. */
export class Tensor {
  /**
   * @param {Elements} data
   * @param {readonly number[]} shape
   */
  constructor(data, shape) {
    this.data = data;
    this.shape = shape;
  }
}

/** An output with one element per pixel. */
export class MapTensor extends Tensor {
  /**
   * @param {Elements} data
   * @param {readonly number[]} shape [1, 1, height, width]
   * @param {[number, number] | null} range black and white of its picture; by default its least and largest element
   */
  constructor(data, shape, range) {
    super(data, shape);
    this.height = shape[2];
    this.width = shape[3];
    this.range = range;
  }

  /**
   * Return a grey picture at any size, such as the photo's.
   *
   * @param {number} [width]
   * @param {number} [height]
   * @returns {Rgba} an ImageData where there is that class
   */
  image(width = this.width, height = this.height) {
    const [black, white] = this.range ?? limits(this.data);
    const values = resizeFloats(this.data, [this.height, this.width], [height, width]);
    const data = new Uint8ClampedArray(width * height * 4).fill(255);
    const factor = white > black ? 255 / (white - black) : 0;
    for (let index = 0; index < values.length; index++) {
      const grey = (values[index] - black) * factor;
      data[index * 4] = grey;
      data[index * 4 + 1] = grey;
      data[index * 4 + 2] = grey;
    }
    return typeof ImageData === 'undefined' ? {data, width, height} : new ImageData(data, width, height);
  }
}

/**
 * Return the least and the largest finite element.
 *
 * @param {Elements} data
 * @returns {[number, number]}
 */
function limits(data) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of data) {
    if (!Number.isFinite(value)) continue;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return least <= most ? [least, most] : [0, 0];
}

/**
 * Wrap the elements of one output.
 *
 * @param {StepOutput} port
 * @param {Elements} data
 * @param {readonly number[]} shape
 * @returns {Tensor}
 */
export function outputOf(port, data, shape) {
  const isMap = port.reference_layout === 'NCHW' && shape.length === 4 && shape[0] === 1 && shape[1] === 1;
  return isMap ? new MapTensor(data, shape, port.range) : new Tensor(data, shape);
}
