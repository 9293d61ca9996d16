// Elements of tensors, between the reference (layout, scale and range of the model) and a file. As hydramobile/ports.py.

/** @import {Dtype, Port, TensorData} from './types.d.ts' */

import {HydraError} from './errors.js';

/** @typedef {ArrayLike<number> | ArrayLike<bigint>} Values elements in the reference's layout, in one list */

/** The array that holds the elements of each dtype. */
export const ARRAYS = {
  float32: Float32Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};
/** @type {Partial<Record<Dtype, [number, number]>>} */
const LIMITS = {int8: [-128, 127], uint8: [0, 255]};

/**
 * Return the number of elements of a shape.
 *
 * @param {readonly number[]} shape
 * @returns {number}
 */
export const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);

/** @param {Port} port whether the reference's channels come first and the file's last */
const isMoved = ({layout, reference_layout}) => layout === 'NHWC' && reference_layout === 'NCHW';

/**
 * Return a tensor's shape in the reference's layout.
 *
 * @param {Port} port
 * @returns {number[]}
 */
export function referenceShape(port) {
  if (!isMoved(port)) return port.shape;
  const [batch, height, width, channels] = port.shape;
  return [batch, channels, height, width];
}

/**
 * Return, for an index in the file's layout, the index in the reference's.
 *
 * @param {Port} port
 * @returns {(index: number) => number}
 */
function referenceIndex(port) {
  if (!isMoved(port)) return (index) => index;
  const [, height, width, channels] = port.shape;
  const plane = height * width;
  return (index) => {
    const [pixel, channel] = [Math.trunc(index / channels), index % channels];
    return (Math.trunc(pixel / plane) * channels + channel) * plane + (pixel % plane);
  };
}

/**
 * Return a function that converts an element of the reference to the file's: scale, zero point, dtype.
 *
 * @param {Port} port
 * @returns {(value: number) => number}
 */
function toFile({dtype, scale, zero_point}) {
  const limits = LIMITS[dtype];
  if (!limits) return (value) => value * scale + zero_point;
  return (value) => Math.min(Math.max(Math.round(value * scale + zero_point), limits[0]), limits[1]);
}

/**
 * Convert a photo's bytes to the file's input: range, layout, scale and dtype are the port's.
 *
 * @param {Port} port
 * @param {Uint8Array} rgb [height, width, 3]
 * @returns {TensorData}
 */
export function photoData(port, rgb) {
  const planar = port.layout === 'NCHW';
  const pixels = rgb.length / 3;
  const [low, high] = port.range ?? [0, 1];
  const convert = toFile(port);
  const Numbers = /** @type {Float32ArrayConstructor} */ (ARRAYS[port.dtype]);
  const table = Numbers.from({length: 256}, (_, byte) => convert((byte / 255) * (high - low) + low));
  const result = new Numbers(rgb.length);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      result[planar ? channel * pixels + pixel : pixel * 3 + channel] = table[rgb[pixel * 3 + channel]];
    }
  }
  return result;
}

/**
 * Convert elements of the reference to the file's.
 *
 * @param {Port} port
 * @param {Values} values
 * @returns {TensorData}
 * @throws {HydraError} with the code "input" where their number is wrong, or an integer is none or outside its range
 */
export function fileData(port, values) {
  const length = sizeOf(port.shape);
  if (values?.length !== length) {
    const wanted = `${length} elements, shape [${referenceShape(port)}]`;
    throw new HydraError('input', `${port.name} has ${values?.length ?? 'no'} elements instead of ${wanted}`);
  }
  const integer = port.dtype === 'int64' || port.dtype === 'int32';
  if (integer) checkIntegers(port, values);
  const from = referenceIndex(port);
  if (port.dtype === 'int64') return BigInt64Array.from({length}, (_, index) => BigInt(values[from(index)]));
  const convert = integer ? Number : toFile(port);
  const result = new /** @type {Float32ArrayConstructor} */ (ARRAYS[port.dtype])(length);
  for (let index = 0; index < length; index++) result[index] = convert(Number(values[from(index)]));
  return result;
}

/**
 * Check indices: a runtime reads past its tables where one is too large.
 *
 * @param {Port} port
 * @param {Values} values
 */
function checkIntegers({name, range}, values) {
  const [low, high] = range ?? [-Infinity, Infinity];
  for (let index = 0; index < values.length; index++) {
    const value = Number(values[index]);
    if (Number.isInteger(value) && value >= low && value <= high) continue;
    const limits = range ? ` from ${low} to ${high}` : '';
    throw new HydraError('input', `${name}[${index}] is ${values[index]}, not an integer${limits}`);
  }
}

/**
 * Convert the elements of an output in the file to the reference's, in its layout. Integers that are no quantized
 * floats stay integers: int64 becomes Float64Array, which is exact up to 2^53.
 *
 * @param {Port} port
 * @param {TensorData} data
 * @returns {Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>}
 */
export function referenceData(port, data) {
  const {dtype, scale, zero_point: zero} = port;
  const from = referenceIndex(port);
  const length = data.length;
  if (dtype === 'float32' || scale !== 1 || zero) {
    const result = new Float32Array(length);
    for (let index = 0; index < length; index++) result[from(index)] = (Number(data[index]) - zero) / scale;
    return result;
  }
  const result =
    dtype === 'int64' ? new Float64Array(length) : dtype === 'bool' ? new Uint8Array(length) : new Int32Array(length);
  for (let index = 0; index < length; index++) result[from(index)] = Number(data[index]);
  return result;
}
