// A photo: its size before it is decoded, its preview, and its own pixels when it is saved.

/** @import {Rgba, Size} from '../types.d.ts' */

/**
 * An opened photo.
 *
 * @typedef {object} Photo
 * @property {Blob} file
 * @property {string} name
 * @property {number} width of the photo itself, upright
 * @property {number} height
 * @property {HTMLCanvasElement} preview at most one megapixel; the page works on it
 * @property {HTMLCanvasElement} guide the picture that matte and depth are fitted to
 */

const PREVIEW_PIXELS = 1e6;
const GUIDE = 384; // longer side of the picture that matte and depth are fitted to
const MOST_PIXELS = 100e6; // as hydramobile/preprocess.py
const HEADER_BYTES = 1 << 18; // of a file: a JPEG's size stands behind its metadata

/** A photo that cannot be opened, held or coded. */
export class PhotoError extends Error {}

/**
 * Open a photo: upright by its EXIF orientation, over white where it is transparent.
 *
 * @param {Blob & {name?: string}} file
 * @param {string} [name]
 * @returns {Promise<Photo>}
 * @throws {PhotoError} where it has more than 100 megapixels or is no photo
 */
export async function openPhoto(file, name = file.name ?? 'photo') {
  const claimed = await claimedSize(file);
  if (claimed && claimed.width * claimed.height > MOST_PIXELS) {
    const size = `${claimed.width} × ${claimed.height}`;
    throw new PhotoError(`${name} is ${size}: more than ${MOST_PIXELS / 1e6} megapixels do not fit a browser tab`);
  }
  const bitmap = await decode(file, name);
  try {
    const {width, height} = bitmap;
    const limit = Math.sqrt(PREVIEW_PIXELS / (width * height));
    const preview = shrink(bitmap, Math.min(limit, 1));
    const guide = shrink(preview, Math.min(GUIDE / Math.max(preview.width, preview.height), 1));
    return {file, name, width, height, preview, guide};
  } finally {
    bitmap.close(); // a full-size photo takes 100 MB: it is decoded again when it is saved
  }
}

/**
 * Decode a photo, upright.
 *
 * @param {Blob} file
 * @param {string} name for the error
 * @returns {Promise<ImageBitmap>}
 * @throws {PhotoError} where the browser cannot read it
 */
export async function decode(file, name) {
  try {
    return await createImageBitmap(file, {imageOrientation: 'from-image'});
  } catch {
    throw new PhotoError(`${name} is not a photo this browser can read (JPEG, PNG, WebP, AVIF)`);
  }
}

/**
 * Make a canvas whose pixels will be read.
 *
 * @param {number} width
 * @param {number} height
 * @returns {{canvas: HTMLCanvasElement, context: CanvasRenderingContext2D}}
 * @throws {PhotoError} where the browser has no memory for it
 */
export function canvasOf(width, height) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, {width, height});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  if (!context) throw new PhotoError(`this browser has no memory for a picture of ${width} × ${height}`);
  return {canvas, context};
}

/**
 * Shrink a picture onto white. It is halved until near the goal: one large step would skip pixels.
 *
 * @param {HTMLCanvasElement | ImageBitmap} source
 * @param {number} factor at most 1
 * @returns {HTMLCanvasElement}
 */
function shrink(source, factor) {
  const width = Math.max(Math.round(source.width * factor), 1);
  const height = Math.max(Math.round(source.height * factor), 1);
  const steps = Math.max(Math.floor(Math.log2(source.width / width)), 0);
  let current = onWhite(source, width << steps, height << steps);
  for (let step = steps - 1; step >= 0; step--) current = onWhite(current, width << step, height << step);
  return current;
}

/**
 * Draw a picture on a white canvas of the given size.
 *
 * @param {HTMLCanvasElement | ImageBitmap} source
 * @param {number} width
 * @param {number} height
 * @returns {HTMLCanvasElement}
 */
function onWhite(source, width, height) {
  const {canvas, context} = canvasOf(width, height);
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

/**
 * Draw a picture that someone chose on a canvas of at most `side` pixels per side.
 *
 * @param {Blob} file
 * @param {number} side
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function pictureOf(file, side) {
  const bitmap = await createImageBitmap(file);
  const factor = Math.min(side / Math.max(bitmap.width, bitmap.height), 1);
  const [width, height] = [bitmap.width, bitmap.height].map((size) => Math.max(Math.round(size * factor), 1));
  const {canvas, context} = canvasOf(width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return canvas;
}

/**
 * Return the 2D context of a canvas.
 *
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D}
 * @throws {PhotoError} where the browser has no memory for it
 */
export function contextOf(canvas) {
  const context = canvas.getContext('2d');
  if (!context) throw new PhotoError(`this browser has no memory for a picture of ${canvas.width} × ${canvas.height}`);
  return context;
}

/**
 * Read a canvas.
 *
 * @param {HTMLCanvasElement} canvas
 * @returns {Rgba}
 */
export function pixels(canvas) {
  const {data, width, height} = contextOf(canvas).getImageData(0, 0, canvas.width, canvas.height);
  return {data, width, height};
}

/**
 * Return the size that the header of a JPEG, PNG or WebP states, before a decoder allocates memory for it.
 *
 * @param {Blob} file
 * @returns {Promise<Size | null>} null for other formats
 */
async function claimedSize(file) {
  const view = new DataView(await file.slice(0, HEADER_BYTES).arrayBuffer());
  /** @param {number} offset */
  const inside = (offset) => offset + 4 <= view.byteLength;
  /** @param {number} offset */
  const uint16 = (offset) => (inside(offset) ? view.getUint16(offset) : 0);
  /**
   * @param {number} offset
   * @param {boolean} [littleEndian]
   */
  const uint32 = (offset, littleEndian) => (inside(offset) ? view.getUint32(offset, littleEndian) : 0);
  if (uint32(0) === 0x89504e47) return {width: uint32(16), height: uint32(20)};
  // RIFF with a VP8X chunk
  if (uint32(0) === 0x52494646 && uint32(12) === 0x56503858) {
    return {width: (uint32(24, true) & 0xffffff) + 1, height: (uint32(27, true) & 0xffffff) + 1};
  }
  if (uint16(0) !== 0xffd8) return null;
  for (let offset = 2; offset + 9 < view.byteLength; ) {
    const marker = uint16(offset);
    // Start of frame, but for DHT, JPG and DAC, which share its range.
    if (marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker)) {
      return {height: uint16(offset + 5), width: uint16(offset + 7)};
    }
    offset += 2 + uint16(offset + 2);
  }
  return null;
}
