// Lifting: from the net's two small maps to the two layers that rendering takes, the people and their background.
//
// Each layer has a depth of its own that continues beneath the matte's edge. So a person's outline is never blurred by
// the background's depth, nor the background by the person's; the matte alone says where a person ends. Depth and matte
// are guided filter coefficients (guided.js), which the renderer applies to the photo at any size. `front` and `back`
// are the colours of the layers under the edge: the people without the background's light in their hair, and the
// background filled in behind them.

/** @import {Floats, Layers, LiftJob, Rgba, Size} from '../types.d.ts' */

import {dilate, fillUnknown, resizeBilinear, smoothstep} from './filters.js';
import {GuidedFilter} from './guided.js';

// How near an edge must be to be followed, in pixels of the guide, whose longer side is GUIDE (photo.js).
const RADIUS = 5;
// Variance of colour that counts as an edge: little for the matte. A depth changes slowly inside a person and must not
// follow every fold of a shirt.
const MATTE_EPSILON = 3e-4;
const DEPTH_EPSILON = 1e-2;
// How far the net's depth is blurred across the matte's edge, on each side, in pixels of the net.
const BLEED_OUT = 6;
const BLEED_IN = 2;
// The least weight of a colour: a photo without people, or of nothing else, has colours for both layers too.
const LEAST_WEIGHT = 1e-4;

/**
 * Lift a photo: split it into two layers at the guide's size.
 *
 * @param {LiftJob} job the guide's pixels and the net's two maps
 * @returns {Layers}
 */
export function lift({guide, alpha, depth, net}) {
  const {width, height} = guide;
  const depths = layerDepths(alpha, depth, net);
  /** @param {Float32Array} plane */
  const enlarge = (plane) => resizeBilinear(plane, net.width, net.height, width, height);
  const colors = [0, 1, 2].map((channel) => planeOf(guide, channel));
  const filter = new GuidedFilter(colors, width, height, RADIUS);
  const coarse = enlarge(alpha);
  return {
    width,
    height,
    matte: filter.fit(coarse, MATTE_EPSILON),
    near: filter.fit(enlarge(depths.near), DEPTH_EPSILON),
    far: filter.fit(enlarge(depths.far), DEPTH_EPSILON),
    ...layerColors(colors, coarse, width, height),
  };
}

/**
 * Return one channel of an image as a plane in [0, 1].
 *
 * @param {Rgba} image
 * @param {number} channel
 * @returns {Floats}
 */
function planeOf({data, width, height}, channel) {
  const plane = new Float32Array(width * height);
  for (let index = 0; index < plane.length; index++) plane[index] = data[index * 4 + channel] / 255;
  return plane;
}

/**
 * Return a depth for each layer, continued where the other layer is seen.
 *
 * @param {Float32Array} alpha
 * @param {Float32Array} depth
 * @param {Size} net
 * @returns {{near: Float32Array, far: Float32Array}} depth of the people, depth of the background
 */
function layerDepths(alpha, depth, {width, height}) {
  const outer = dilate(alpha, width, height, BLEED_OUT);
  const inner = dilate(inverted(alpha), width, height, BLEED_IN);
  const people = inner.map((value) => smoothstep(0.5, 0.1, value));
  const background = outer.map((value) => smoothstep(0.5, 0.1, value));
  // Without people, or without a background, the other layer's depth serves both.
  /** @param {Float32Array} weight */
  const known = (weight) => (weight.some((value) => value > 0.5) ? weight : new Float32Array(weight.length).fill(1));
  const [near] = fillUnknown([depth], known(people), width, height);
  const [far] = fillUnknown([depth], known(background), width, height);
  return {near, far};
}

/**
 * Return the colours of both layers. The mixed pixels of the edge itself belong to neither: the weights begin a little
 * inside and a little outside of the matte.
 *
 * @param {Float32Array[]} colors
 * @param {Float32Array} alpha
 * @param {number} width
 * @param {number} height
 * @returns {Pick<Layers, 'front' | 'back'>}
 */
function layerColors(colors, alpha, width, height) {
  /** @param {Float32Array} other how much of the other layer is near */
  const weight = (other) => other.map((value) => Math.max(smoothstep(0.25, 0.02, value), LEAST_WEIGHT));
  const inner = weight(dilate(inverted(alpha), width, height, 1));
  const outer = weight(dilate(alpha, width, height, 2));
  return {
    front: packed(fillUnknown(colors, inner, width, height)),
    back: packed(fillUnknown(colors, outer, width, height)),
  };
}

/** @param {Float32Array} alpha */
const inverted = (alpha) => alpha.map((value) => 1 - value);

/**
 * Pack three planes in [0, 1] into opaque RGBA bytes.
 *
 * @param {Float32Array[]} planes
 * @returns {Uint8Array<ArrayBuffer>}
 */
function packed(planes) {
  const bytes = new Uint8Array(planes[0].length * 4).fill(255);
  planes.forEach((plane, channel) => {
    for (let index = 0; index < plane.length; index++) bytes[index * 4 + channel] = Math.round(plane[index] * 255);
  });
  return bytes;
}
