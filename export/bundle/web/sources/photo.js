// A photo as the net's input: upright, sRGB, over white, the whole of it stretched to the net's size.

/** @import {Rgba} from './types.d.ts' */

import {asHydraError, HydraError} from './errors.js';
import {Resizer} from './resize.js';

const MOST_PIXELS = 100e6; // as hydramobile/preprocess.py
const STRIP_PIXELS = 1 << 20; // decoded at once: a canvas of a whole photo is too large for some phones

/** @typedef {Blob | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas | Rgba} Photo */

/**
 * Whether a photo comes as its RGBA bytes, such as an ImageData.
 *
 * @param {Photo} photo
 * @returns {photo is Rgba}
 */
export const isPixels = (photo) => ArrayBuffer.isView(/** @type {Partial<Rgba>} */ (Object(photo)).data);

/**
 * Return the photo's bytes at the net's size.
 *
 * @param {Photo} photo
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Uint8Array<ArrayBuffer>>} [height, width, 3]
 * @throws {HydraError} with the code "photo" where it cannot be read, is empty, or has more than 100 megapixels
 */
export async function photoBytes(photo, width, height) {
  if (isPixels(photo)) return resizePixels(photo, width, height);
  const bitmap = await bitmapOf(photo);
  try {
    check(bitmap);
    return resizeBitmap(bitmap, width, height);
  } catch (error) {
    throw asHydraError('photo', error);
  } finally {
    if (bitmap !== photo) bitmap.close();
  }
}

/**
 * Decode a photo, upright, in sRGB.
 *
 * @param {Exclude<Photo, Rgba>} photo
 * @returns {Promise<ImageBitmap>} the photo itself where it is one
 */
export async function bitmapOf(photo) {
  if (typeof createImageBitmap === 'undefined') {
    throw new HydraError('photo', 'nothing here decodes photos: give {data, width, height} with RGBA bytes');
  }
  if (photo instanceof ImageBitmap) return photo;
  try {
    if ('decode' in photo && !photo.complete) await photo.decode();
    return await createImageBitmap(photo, {imageOrientation: 'from-image'});
  } catch (error) {
    const reason = asHydraError('photo', error).message;
    throw new HydraError('photo', `no photo that can be read here (JPEG, PNG, WebP, ...): ${reason}`);
  }
}

/** @param {{width: number, height: number}} size */
function check({width, height}) {
  if (!(width >= 1 && height >= 1)) throw new HydraError('photo', `a photo of ${width} x ${height} pixels is empty`);
  if (width * height > MOST_PIXELS) {
    throw new HydraError('photo', `${width} x ${height} pixels: at most ${MOST_PIXELS / 1e6} megapixels`);
  }
}

/**
 * @param {Rgba} pixels
 * @param {number} toWidth
 * @param {number} toHeight
 */
function resizePixels({data, width, height}, toWidth, toHeight) {
  check({width, height});
  if (data.length !== width * height * 4) {
    throw new HydraError('photo', `${data.length} bytes are no RGBA image of ${width} x ${height} pixels`);
  }
  const resizer = new Resizer(width, height, toWidth, toHeight);
  const rows = Math.max(Math.floor(STRIP_PIXELS / width), 1);
  for (let y = 0; y < height; y += rows) {
    const end = Math.min(y + rows, height);
    resizer.rows(overWhite(data.subarray(y * width * 4, end * width * 4)), y, end);
  }
  return resizer.finish();
}

/**
 * Lay pixels over white.
 *
 * @param {Uint8ClampedArray} data RGBA, colour not multiplied by alpha
 * @returns {Uint8ClampedArray} `data` itself where it is opaque
 */
function overWhite(data) {
  let index = 3;
  while (index < data.length && data[index] === 255) index += 4;
  if (index >= data.length) return data;
  const result = data.slice();
  for (let start = 0; start < result.length; start += 4) {
    const alpha = result[start + 3] / 255;
    for (let item = start; item < start + 3; item++) result[item] = result[item] * alpha + 255 * (1 - alpha);
  }
  return result;
}

/**
 * @param {ImageBitmap} bitmap
 * @param {number} toWidth
 * @param {number} toHeight
 */
function resizeBitmap(bitmap, toWidth, toHeight) {
  const {width, height} = bitmap;
  const rows = Math.min(Math.max(Math.floor(STRIP_PIXELS / width), 1), height);
  const context = contextOf(width, rows);
  const resizer = new Resizer(width, height, toWidth, toHeight);
  context.fillStyle = 'white';
  for (let y = 0; y < height; y += rows) {
    const count = Math.min(rows, height - y);
    context.fillRect(0, 0, width, count);
    context.drawImage(bitmap, 0, y, width, count, 0, 0, width, count);
    resizer.rows(context.getImageData(0, 0, width, count).data, y, y + count);
  }
  return resizer.finish();
}

/**
 * Return the context of a canvas whose pixels will be read.
 *
 * @param {number} width
 * @param {number} height
 * @returns {OffscreenCanvasRenderingContext2D | CanvasRenderingContext2D}
 */
function contextOf(width, height) {
  const offscreen = typeof OffscreenCanvas !== 'undefined';
  const canvas = offscreen
    ? new OffscreenCanvas(width, height)
    : Object.assign(document.createElement('canvas'), {width, height});
  const context = /** @type {CanvasRenderingContext2D | null} */ (canvas.getContext('2d', {willReadFrequently: true}));
  if (!context) throw new HydraError('photo', `this browser has no memory for ${width} x ${height} pixels`);
  context.imageSmoothingEnabled = false;
  return context;
}
