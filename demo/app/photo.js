// A photo: its size before it is decoded, its preview, and its own pixels in tiles when it is saved.

export const PREVIEW_PIXELS = 1e6;
export const GUIDE = 384; // longer side of the picture that matte and depth are fitted to
const MOST_PIXELS = 100e6; // as hydramobile/preprocess.py

export class PhotoError extends Error {}

// file: a Blob with a name. -> Photo. Upright by its EXIF orientation, over white where it is transparent.
export async function openPhoto(file, name = file.name ?? 'photo') {
  const claimed = await claimedSize(file);
  if (claimed && claimed.width * claimed.height > MOST_PIXELS) {
    throw new PhotoError(
      `${name} is ${claimed.width} × ${claimed.height}: more than ${MOST_PIXELS / 1e6} megapixels do not fit a browser tab`,
    );
  }
  const bitmap = await decode(file, name);
  try {
    const {width, height} = bitmap;
    const limit = Math.sqrt(PREVIEW_PIXELS / (width * height));
    const preview = shrink(bitmap, Math.min(limit, 1));
    const guide = shrink(preview, Math.min(GUIDE / Math.max(preview.width, preview.height), 1));
    return {file, name, width, height, preview, guide};
  } finally {
    bitmap.close(); // a full-size photo is 100 MB: it is decoded again when it is saved
  }
}

export async function decode(file, name) {
  try {
    return await createImageBitmap(file, {imageOrientation: 'from-image'});
  } catch {
    throw new PhotoError(`${name} is not a photo this browser can read (JPEG, PNG, WebP, AVIF)`);
  }
}

export function canvasOf(width, height) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, {width, height});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  if (!context) throw new PhotoError(`this browser has no memory for a picture of ${width} × ${height}`);
  return {canvas, context};
}

// Halved until near the goal: one large step would skip pixels.
function shrink(source, factor) {
  const width = Math.max(Math.round(source.width * factor), 1);
  const height = Math.max(Math.round(source.height * factor), 1);
  const steps = Math.max(Math.floor(Math.log2(source.width / width)), 0);
  let current = source;
  for (let step = steps; step >= 0; step--) {
    const {canvas, context} = canvasOf(width << step, height << step);
    context.fillStyle = 'white';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = 'high';
    context.drawImage(current, 0, 0, canvas.width, canvas.height);
    current = canvas;
  }
  return current;
}

export function pixels(canvas) {
  const {data, width, height} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return {data, width, height};
}

// Width and height as the header of a JPEG, PNG or WebP says, before a decoder makes room for them; null for others.
async function claimedSize(file) {
  const view = new DataView(await file.slice(0, 1 << 18).arrayBuffer());
  const at = (offset, read, ...more) => (offset + 4 <= view.byteLength ? view[read](offset, ...more) : 0);
  if (at(0, 'getUint32') === 0x89504e47) return {width: at(16, 'getUint32'), height: at(20, 'getUint32')};
  if (at(0, 'getUint32') === 0x52494646 && at(12, 'getUint32') === 0x56503858) {
    return {width: (at(24, 'getUint32', true) & 0xffffff) + 1, height: (at(27, 'getUint32', true) & 0xffffff) + 1};
  }
  if (at(0, 'getUint16') !== 0xffd8) return null;
  for (let offset = 2; offset + 9 < view.byteLength; ) {
    const marker = at(offset, 'getUint16');
    if (marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker)) {
      return {height: at(offset + 5, 'getUint16'), width: at(offset + 7, 'getUint16')};
    }
    offset += 2 + at(offset + 2, 'getUint16');
  }
  return null;
}
