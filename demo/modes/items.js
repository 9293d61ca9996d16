// The items of Place: words, stickers and pictures, where they stand, and their textures.

/** @import {Scene} from '../app/scene.js' */
/** @import {Stage, Texture} from '../gl/stage.js' */
/** @import {Drawing} from './stickers.js' */

import {canvasOf} from '../app/photo.js';
import {backgroundDepth, farthestPerson} from './depths.js';
import {drawSticker, drawWords} from './stickers.js';

/**
 * One item.
 *
 * @typedef {object} Item
 * @property {string} kind "text", "picture" or a name of STICKERS
 * @property {string} text
 * @property {HTMLCanvasElement | null} picture
 * @property {string} color
 * @property {number} x of its middle, in [0, 1] of the photo's width
 * @property {number} y of its middle, in [0, 1] of the photo's height
 * @property {number} depth
 * @property {number} size width at depth 1, of the photo's diagonal
 * @property {number} turn in half turns
 */

/** @typedef {{others: Item[], drag: 'place' | 'depth'}} Rest the items that are not chosen; what dragging does */
/** @typedef {Item & Rest} ChosenSettings the chosen item lies flat in the settings, so that its numbers glide */
/** @typedef {{[Key in keyof Item]: null} & Rest} EmptySettings nothing is chosen */
/** @typedef {ChosenSettings | EmptySettings} PlaceSettings */
/** @typedef {{width: number, height: number, inverse: number[]}} Box size of the photo's diagonal; photo to item */

/** @type {(keyof Item)[]} */
const MEMBERS = ['kind', 'text', 'picture', 'color', 'x', 'y', 'depth', 'size', 'turn'];
/** @type {{[Key in keyof Item]: null}} */
const NOTHING = {
  kind: null,
  text: null,
  picture: null,
  color: null,
  x: null,
  y: null,
  depth: null,
  size: null,
  turn: null,
};
const FREE_ROWS = [0.3, 0.75, 0.5, 0.15, 0.9]; // where a new item may come to stand, of the photo's height
const LARGEST = 4096; // pixels per side of a drawn item: every WebGL 2 device holds it
const LARGEST_KEPT = 2048; // a larger texture is freed after it was drawn
const SMALLEST = 64;
const MOST_KEPT = 48; // textures

/**
 * Return words as wide as the photo, behind the people: the look that no flat editor has.
 *
 * @param {Scene} scene
 * @param {string} words
 * @param {string} color
 * @returns {Item}
 */
export function text(scene, words, color) {
  const depth = behindPeople(scene);
  const size = Math.min((0.94 * shapeOf(scene)[0]) / shrinkage(depth), 1);
  return {kind: 'text', text: words, picture: null, color, x: 0.5, y: 0.3, depth, size, turn: 0};
}

/**
 * Return a sticker or a picture.
 *
 * @param {Scene} scene
 * @param {string} kind
 * @param {{color: string, depth: number}} look
 * @returns {Item}
 */
export function sticker(scene, kind, look) {
  return {...text(scene, '', look.color), kind, ...look, size: 0.2};
}

/**
 * Return a depth between the people's farthest and the background's median, nearer to the people: a background has
 * parts.
 *
 * @param {Scene} scene
 * @returns {number} 0.5 without people
 */
export function behindPeople(scene) {
  if (!scene.people.length) return 0.5;
  return (farthestPerson(scene) * 3 + backgroundDepth(scene)) / 4;
}

/**
 * @param {PlaceSettings} settings
 * @returns {settings is ChosenSettings}
 */
export function isChosen(settings) {
  return Boolean(settings.kind);
}

/**
 * Return the members of an item alone.
 *
 * @param {Item} settings
 * @returns {Item}
 */
function itemOf(settings) {
  return /** @type {Item} */ (Object.fromEntries(MEMBERS.map((key) => [key, settings[key]])));
}

/**
 * Return all items, the chosen one last. It is the settings themselves.
 *
 * @param {PlaceSettings} settings
 * @returns {Item[]}
 */
const items = (settings) => [...settings.others, ...(isChosen(settings) ? [settings] : [])];

/**
 * Return all items in the order they are drawn.
 *
 * @param {PlaceSettings} settings
 * @returns {Item[]}
 */
export const farToNear = (settings) => items(settings).sort((a, b) => a.depth - b.depth);

/**
 * Return all items as others.
 *
 * @param {PlaceSettings} settings
 * @returns {Item[]}
 */
const unchosen = (settings) => [...settings.others, ...(isChosen(settings) ? [itemOf(settings)] : [])];

/**
 * Add an item in a free row and choose it.
 *
 * @param {PlaceSettings} settings
 * @param {Item} item
 * @returns {Partial<ChosenSettings>}
 */
export function add(settings, item) {
  const others = unchosen(settings);
  const y = FREE_ROWS.find((row) => others.every((other) => Math.abs(other.y - row) > 0.1)) ?? 0.5;
  return {...item, y, others};
}

/**
 * Choose another item.
 *
 * @param {PlaceSettings} settings
 * @param {Item} item
 * @returns {Partial<ChosenSettings>}
 */
export function choose(settings, item) {
  const same = (/** @type {Item} */ other) => MEMBERS.every((key) => other[key] === item[key]);
  return {...itemOf(item), others: unchosen(settings).filter((other) => !same(other))};
}

/**
 * Remove the chosen item and choose the last of the others.
 *
 * @param {PlaceSettings} settings
 * @returns {Partial<PlaceSettings>}
 */
export function remove(settings) {
  const others = [...settings.others];
  const last = others.pop();
  return last ? {...last, others} : {...NOTHING, others};
}

/**
 * Return the nearest item at a point of the photo.
 *
 * @param {Scene} scene
 * @param {PlaceSettings} settings
 * @param {number} x in [0, 1]
 * @param {number} y in [0, 1]
 * @returns {Item | undefined}
 */
export function hit(scene, settings, x, y) {
  const [width, height] = shapeOf(scene);
  return farToNear(settings)
    .reverse()
    .find((item) => {
      const [a, b, c, d] = boxOf(item).inverse;
      const [dx, dy] = [(x - item.x) * width, (y - item.y) * height];
      return Math.abs(a * dx + c * dy) <= 0.5 && Math.abs(b * dx + d * dy) <= 0.5;
    });
}

/**
 * Return the photo's width and height, of its diagonal.
 *
 * @param {Scene} scene
 * @returns {number[]}
 */
export function shapeOf({width, height}) {
  return [width, height].map((side) => side / Math.hypot(width, height));
}

/**
 * Return how much smaller an item is for standing at a depth.
 *
 * @param {number} depth
 */
const shrinkage = (depth) => 0.55 + 0.45 * Math.min(Math.max(depth, 0), 1.1);

/**
 * Return an item's size, and the 2 x 2 matrix from the photo, around the item's middle, into the item.
 *
 * @param {Item} item
 * @returns {Box}
 */
export function boxOf(item) {
  const width = item.size * shrinkage(item.depth);
  const height = width / drawingOf(item).ratio;
  const [cos, sin] = [Math.cos(item.turn * Math.PI), Math.sin(item.turn * Math.PI)];
  return {width, height, inverse: [cos / width, -sin / height, sin / width, cos / height]};
}

/** @type {Map<string, Drawing>} by kind, text and colour */
const drawings = new Map();

/**
 * Return the drawing of an item.
 *
 * @param {Item} item
 * @returns {Drawing}
 */
function drawingOf({kind, text: words, color, picture}) {
  if (picture) {
    return {
      ratio: picture.width / picture.height,
      paint: (context, width, height) => context.drawImage(picture, 0, 0, width, height),
    };
  }
  const key = JSON.stringify([kind, words, color]);
  const existing = drawings.get(key);
  if (existing) return existing;
  const drawing = kind === 'text' ? drawWords(words, color) : drawSticker(kind, color);
  drawings.set(key, drawing);
  return drawing;
}

/** @type {WeakMap<Stage, Map<string, Texture>>} */
const textures = new WeakMap();
/** @type {WeakMap<HTMLCanvasElement, number>} */
const pictureNumbers = new WeakMap();
let pictures = 0;

/**
 * Return the number of a picture.
 *
 * @param {HTMLCanvasElement} picture
 */
function numberOf(picture) {
  const number = pictureNumbers.get(picture) ?? ++pictures;
  pictureNumbers.set(picture, number);
  return number;
}

/**
 * Return a texture of an item that is about as wide as it is shown. Widths are powers of two and the textures are kept;
 * one as large as only a tile needs is freed by its `free`.
 *
 * @param {Stage} stage
 * @param {Item} item
 * @param {number} pixels wanted width
 * @returns {{texture: Texture, free?: () => void}}
 */
export function textureOf(stage, item, pixels) {
  const {ratio} = drawingOf(item);
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(pixels, SMALLEST)));
  const width = Math.max(Math.round(Math.min(wanted, LARGEST, LARGEST * ratio)), 1);
  const height = Math.max(Math.round(width / ratio), 1);
  const picture = item.picture && numberOf(item.picture);
  const key = JSON.stringify([item.kind, item.text, item.color, width, picture]);
  const kept = textures.get(stage) ?? new Map();
  textures.set(stage, kept);
  const existing = kept.get(key);
  if (existing) return {texture: existing};
  const texture = painted(stage, item, width, height);
  if (width > LARGEST_KEPT) return {texture, free: () => stage.free(texture)};
  if (kept.size >= MOST_KEPT) {
    stage.free(...kept.values());
    kept.clear();
  }
  kept.set(key, texture);
  return {texture};
}

/**
 * Draw an item into a new texture, colour multiplied by alpha.
 *
 * @param {Stage} stage
 * @param {Item} item
 * @param {number} width
 * @param {number} height
 * @returns {Texture}
 */
function painted(stage, item, width, height) {
  const {canvas, context} = canvasOf(width, height);
  drawingOf(item).paint(context, width, height);
  const {gl} = stage;
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
  const texture = stage.texture(canvas);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  Object.assign(canvas, {width: 0, height: 0});
  return texture;
}
