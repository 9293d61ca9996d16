// A photo's two layers as geometry. The net's depth is relative: larger is nearer, and it has no unit. It is read as the
// inverse of a distance, as nets of this kind learn it, between 1 (nearest) and 1 + `relief` * DEEPEST (farthest).

/** @import * as Three from 'three' */
/** @import {Scene} from '../app/scene.js' */
/** @import {Size} from '../types.d.ts' */

import {contextOf} from '../app/photo.js';
import {rgbOf} from './color.js';

/** @typedef {typeof Three} Library three, which is imported when the mode is opened */
/** @typedef {{people: HTMLCanvasElement, behind: HTMLCanvasElement}} LayerImages colours of the two layers */
/** @typedef {{columns: number, rows: number}} Grid */

/**
 * How the surfaces look.
 *
 * @typedef {object} Appearance
 * @property {number} relief in [0, 1]
 * @property {'photo' | 'depth'} look
 * @property {'mesh' | 'points'} shape
 * @property {number} field the camera's vertical field of view, in degrees
 * @property {number} border how far the surfaces go on beyond the photo, mirrored, as a share of its sides
 */

/**
 * One layer to build.
 *
 * @typedef {object} Layer
 * @property {string} name
 * @property {Float32Array} depth [height, width] of the scene
 * @property {HTMLCanvasElement} image
 * @property {Float32Array | null} alpha where the layer is seen; null: everywhere
 */

/**
 * A layer's vertices.
 *
 * @typedef {object} Surface
 * @property {Three.BufferGeometry} geometry
 * @property {number[]} uv two per vertex, origin at the bottom left
 * @property {number[]} depths one per vertex
 */

/**
 * The result of `build`.
 *
 * @typedef {object} Content
 * @property {Three.Group} group
 * @property {number} vertices
 * @property {number} nearest distance of the nearest depth
 * @property {number} middle distance of the largest person
 * @property {() => void} free
 */

const DEEPEST = 3;
const COLUMNS = 220; // of the grid, on the longer side: about as fine as the net sees
const OVERLAP = 1.3; // of points, so that from the camera hardly a gap is seen
const SHOWN = 0.02; // alpha below which the people's surface ends

/** @type {[position: number, color: string][]} Viridis: even steps look even, in grey too */
export const SCALE_STOPS = [
  [0, '#440154'],
  [0.25, '#3b528b'],
  [0.5, '#21918c'],
  [0.75, '#5ec962'],
  [1, '#fde725'],
];

/**
 * Return the colour of the depth scale at a position.
 *
 * @param {number} position in [0, 1]
 * @returns {number[]} sRGB in [0, 1]
 */
export function colorScale(position) {
  const index = within(position) * (SCALE_STOPS.length - 1);
  const low = Math.min(Math.floor(index), SCALE_STOPS.length - 2);
  const [a, b] = [SCALE_STOPS[low], SCALE_STOPS[low + 1]].map(([, color]) => rgbOf(color));
  return a.map((value, channel) => value + (b[channel] - value) * (index - low));
}

/**
 * Build both layers. The camera stands at the origin and looks along -z.
 *
 * @param {Library} three
 * @param {Scene} scene
 * @param {LayerImages} images
 * @param {Appearance} appearance
 * @returns {Content}
 */
export function build(three, scene, images, appearance) {
  const {pixels, people} = scene;
  const distance = distanceOf(scene, appearance.relief);
  /** @type {Layer[]} */
  const layers = [
    {name: 'behind', depth: pixels.behind, image: images.behind, alpha: null},
    {name: 'people', depth: pixels.people, image: images.people, alpha: pixels.alpha},
  ];
  const group = new three.Group();
  /** @type {{dispose: () => void}[]} */
  const freed = [];
  let vertices = 0;
  for (const layer of layers) {
    const surface = surfaceOf(three, scene, layer, distance, appearance);
    if (!surface) continue;
    const {geometry} = surface;
    const {object, owned} = objectOf(three, scene, layer, surface, {
      ...appearance,
      gap: gapOf(scene, surface, distance, appearance),
    });
    object.name = layer.name;
    object.renderOrder = layer.alpha ? 1 : 0;
    group.add(object);
    vertices += geometry.getAttribute('position').count;
    freed.push(geometry, ...owned);
  }
  const free = () => {
    for (const thing of freed) thing.dispose();
  };
  return {group, vertices, nearest: 1, middle: distance(people[0]?.median ?? scene.depthOf(0.7)), free};
}

/**
 * @param {Size} size
 * @returns {Grid}
 */
function gridOf({width, height}) {
  const factor = Math.min(COLUMNS / Math.max(width, height), 1);
  return {columns: Math.max(Math.round(width * factor), 2), rows: Math.max(Math.round(height * factor), 2)};
}

/**
 * Return the map from the photo's depths, stretched to their own range, to distances from the camera.
 *
 * @param {Scene} scene
 * @param {number} relief
 * @returns {(depth: number) => number}
 */
function distanceOf(scene, relief) {
  const farthest = 1 + relief * DEEPEST;
  const position = scalePosition(scene);
  return (depth) => {
    const near = within(position(depth));
    return 1 / (near + (1 - near) / farthest);
  };
}

/**
 * Return the map from depths to the photo's own range: 0 is its farthest depth, 1 its nearest.
 *
 * @param {Scene} scene
 * @returns {(depth: number) => number}
 */
function scalePosition({quantiles}) {
  const [low, high] = [quantiles[0], quantiles[quantiles.length - 1]];
  return (depth) => (depth - low) / Math.max(high - low, 1e-6);
}

/**
 * Return a grid whose vertices lie on the rays of the photo's pixels, so that from the origin it looks as the photo does.
 *
 * @param {Library} three
 * @param {Scene} scene
 * @param {Layer} layer
 * @param {(depth: number) => number} distance
 * @param {Appearance} appearance
 * @returns {Surface | null} null where the layer is seen nowhere
 */
function surfaceOf(three, scene, {depth, alpha}, distance, {field, shape, border}) {
  const {width, height} = scene;
  const grid = gridOf(scene);
  const {columns, rows} = grid;
  const halfHeight = Math.tan((field * Math.PI) / 360); // at distance 1
  const halfWidth = (halfHeight * width) / height;
  const grown = 1 + 2 * border;
  /**
   * @param {number} index
   * @param {number} count
   */
  const inPhoto = (index, count) => (index / (count - 1) - 0.5) * grown + 0.5;
  /**
   * @param {number} column
   * @param {number} row
   */
  const pixel = (column, row) => pixelAt(scene, inPhoto(column, columns), inPhoto(row, rows));
  const kept = alpha && visible((column, row) => alpha[pixel(column, row)], grid, shape === 'points' ? 0 : 1);
  const numbers = new Int32Array(columns * rows).fill(-1);
  const positions = [];
  const uv = [];
  const depths = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const cell = row * columns + column;
      if (kept && !kept[cell]) continue;
      const [u, v] = [inPhoto(column, columns), inPhoto(row, rows)];
      const value = depth[pixel(column, row)];
      const z = distance(value);
      numbers[cell] = depths.length;
      positions.push((u * 2 - 1) * halfWidth * z, (1 - v * 2) * halfHeight * z, -z);
      uv.push(u, 1 - v);
      depths.push(value);
    }
  }
  if (!depths.length) return null;
  const geometry = new three.BufferGeometry();
  geometry.setAttribute('position', new three.Float32BufferAttribute(positions, 3));
  if (shape === 'mesh') {
    geometry.setAttribute('uv', new three.Float32BufferAttribute(uv, 2));
    geometry.setIndex(triangles(numbers, grid));
  }
  return {geometry, uv, depths};
}

/** @param {number} value */
const within = (value) => Math.min(Math.max(value, 0), 1);

/**
 * Return the index of the pixel at a point; beyond the photo, of its edge.
 *
 * @param {Size} size
 * @param {number} u
 * @param {number} v
 */
function pixelAt({width, height}, u, v) {
  return Math.round(within(v) * (height - 1)) * width + Math.round(within(u) * (width - 1));
}

/**
 * Mark the cells where a layer is seen, and a rim around them for its soft edge.
 *
 * @param {(column: number, row: number) => number} alphaAt
 * @param {Grid} grid
 * @param {number} rim in cells
 * @returns {Uint8Array}
 */
function visible(alphaAt, {columns, rows}, rim) {
  const seen = new Uint8Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (alphaAt(column, row) <= (rim ? SHOWN : 0.5)) continue;
      const [left, right] = [Math.max(column - rim, 0), Math.min(column + rim, columns - 1)];
      const [top, bottom] = [Math.max(row - rim, 0), Math.min(row + rim, rows - 1)];
      for (let y = top; y <= bottom; y++) seen.fill(1, y * columns + left, y * columns + right + 1);
    }
  }
  return seen;
}

/**
 * Return how far apart a layer's vertices are at its median distance, in the unit of three's point size: for a lens of
 * 90 degrees.
 *
 * @param {Scene} scene
 * @param {Surface} surface
 * @param {(depth: number) => number} distance
 * @param {Appearance} appearance
 */
function gapOf(scene, {depths}, distance, {border}) {
  const sorted = Float32Array.from(depths).sort();
  return (2 * (1 + 2 * border) * distance(sorted[sorted.length >> 1])) / (gridOf(scene).rows - 1);
}

/**
 * Return the triangles between the vertices of a grid.
 *
 * @param {Int32Array} numbers the vertex of each cell; -1 where there is none
 * @param {Grid} grid
 * @returns {number[]} three vertices per triangle
 */
function triangles(numbers, {columns, rows}) {
  const result = [];
  for (let row = 0; row < rows - 1; row++) {
    for (let column = 0; column < columns - 1; column++) {
      const [a, b] = [numbers[row * columns + column], numbers[row * columns + column + 1]];
      const [c, d] = [numbers[(row + 1) * columns + column], numbers[(row + 1) * columns + column + 1]];
      if (a >= 0 && b >= 0 && c >= 0) result.push(a, c, b);
      if (b >= 0 && c >= 0 && d >= 0) result.push(b, c, d);
    }
  }
  return result;
}

/**
 * Return a layer as an object of three, and the resources to dispose of with it.
 *
 * @param {Library} three
 * @param {Scene} scene
 * @param {Layer} layer
 * @param {Surface} surface
 * @param {Appearance & {gap: number}} appearance
 * @returns {{object: Three.Object3D, owned: {dispose: () => void}[]}}
 */
function objectOf(three, scene, layer, surface, {look, shape, gap}) {
  const {geometry} = surface;
  if (look === 'depth') setColors(three, geometry, depthColors(scene, surface));
  else if (shape === 'points') setColors(three, geometry, photoColors(layer.image, surface));
  if (shape === 'points') {
    const material = new three.PointsMaterial({size: gap * OVERLAP, vertexColors: true});
    return {object: new three.Points(geometry, material), owned: [material]};
  }
  const side = three.DoubleSide;
  if (look === 'depth') {
    // The matte still cuts the people out.
    const alphaMap = layer.alpha ? mirrored(three, matteOf(layer.image)) : null;
    const material = new three.MeshBasicMaterial({vertexColors: true, side, alphaMap, transparent: Boolean(alphaMap)});
    return {object: new three.Mesh(geometry, material), owned: alphaMap ? [material, alphaMap] : [material]};
  }
  const map = mirrored(three, layer.image);
  map.colorSpace = three.SRGBColorSpace;
  const material = new three.MeshBasicMaterial({map, side, transparent: Boolean(layer.alpha)});
  return {object: new three.Mesh(geometry, material), owned: [material, map]};
}

/**
 * Return a texture that goes on mirrored beyond its edges.
 *
 * @param {Library} three
 * @param {HTMLCanvasElement} image
 * @returns {Three.CanvasTexture}
 */
function mirrored(three, image) {
  const texture = new three.CanvasTexture(image);
  texture.wrapS = three.MirroredRepeatWrapping;
  texture.wrapT = three.MirroredRepeatWrapping;
  return texture;
}

/**
 * Return an image's alpha as grey: three reads the green of an alpha map.
 *
 * @param {HTMLCanvasElement} image
 * @returns {HTMLCanvasElement}
 */
function matteOf(image) {
  const {width, height} = image;
  const pixels = contextOf(image).getImageData(0, 0, width, height);
  const {data} = pixels;
  for (let index = 0; index < data.length; index += 4) {
    data.fill(data[index + 3], index, index + 3);
    data[index + 3] = 255;
  }
  const matte = Object.assign(document.createElement('canvas'), {width, height});
  contextOf(matte).putImageData(pixels, 0, 0);
  return matte;
}

/**
 * Set a colour per vertex.
 *
 * @param {Library} three
 * @param {Three.BufferGeometry} geometry
 * @param {number[]} colors sRGB in [0, 1], three per vertex; they are made linear in place
 */
function setColors(three, geometry, colors) {
  const linear = new three.Color();
  for (let index = 0; index < colors.length; index += 3) {
    linear.setRGB(colors[index], colors[index + 1], colors[index + 2], three.SRGBColorSpace).toArray(colors, index);
  }
  geometry.setAttribute('color', new three.Float32BufferAttribute(colors, 3));
}

/**
 * @param {Scene} scene
 * @param {Surface} surface
 * @returns {number[]} sRGB
 */
function depthColors(scene, {depths}) {
  const position = scalePosition(scene);
  return depths.flatMap((depth) => colorScale(position(depth)));
}

/**
 * @param {HTMLCanvasElement} image
 * @param {Surface} surface
 * @returns {number[]} sRGB
 */
function photoColors(image, {uv}) {
  const {width, height} = image;
  const {data} = contextOf(image).getImageData(0, 0, width, height);
  const colors = [];
  for (let index = 0; index < uv.length; index += 2) {
    const start = pixelAt({width, height}, uv[index], 1 - uv[index + 1]) * 4;
    colors.push(data[start] / 255, data[start + 1] / 255, data[start + 2] / 255);
  }
  return colors;
}
