// Depth of field in two layers. The people and the background behind them are blurred separately, each by its own depth,
// and then composited: no light crosses the matte, so a sharp person has no halo before a blurred background.
//
// It is cheap by stages: the layers are drawn at half size with all mip levels, a golden-angle gather reads few points
// of the level that fits their distance, and only the last pass works at full size. PLAIN computes the same picture the
// slow way, with 200 points at full size: tests/demo compares the two.

/** @import {Stage, Target, UniformValue} from './stage.js' */
/** @import {ShapeName} from './apertures.js' */
/** @import {View} from './view.js' */

import {aperture} from './apertures.js';
import {VIEW} from './view.js';

/** @typedef {{taps: number, scale: number, levels: boolean}} Cost points per gather, downscaling, use of mip levels */

/**
 * How to blur.
 *
 * @typedef {object} Blur
 * @property {readonly number[]} focus the two depths between which all is sharp
 * @property {number} radius of the blur far from the focus, as a share of the photo's diagonal
 * @property {ShapeName} shape of the bokeh
 * @property {number} bloom how much brighter highlights are taken than a photo can store them, in [0, 1]
 * @property {boolean} [flat] keep the people sharp and blur everything behind them alike
 */

/** @type {Cost} */
export const CHEAP = {taps: 56, scale: 2, levels: true};
/** @type {Cost} */
export const PLAIN = {taps: 200, scale: 1, levels: false};

// Radius of the circle of confusion, in pixels of the view. A lens is linear in disparity; this one flattens, so that a
// whole face can be in focus without the background dissolving. 0.006 is the depth that still counts as in focus.
const FOCUS = `
uniform vec2 focus;     // the depths between which all is sharp
uniform float most;     // radius far from them
uniform float flat_;    // 1: the people sharp, all behind them blurred alike
float miss(float depth) { return max(max(focus.x - depth, depth - focus.y) - 0.006, 0.0); }
float radiusAt(float depth) { return most * (1.0 - exp(-9.0 * miss(depth))); }
vec2 radii(vec4 map) { return flat_ > 0.5 ? vec2(0.0, most) : vec2(radiusAt(map.g), radiusAt(map.b)); }
`;

// Light is summed in linear space, with highlights brighter than a photo can store them: without that, bokeh would have
// no discs. `compress` is the exact inverse of `expand`: an evenly bright area keeps its brightness.
const LIGHT = `
uniform float bloom; // 0 to 1
vec3 expand(vec3 color) {
  vec3 light = pow(color, vec3(2.2));
  return light / (1.0 - 0.94 * bloom * max(light.r, max(light.g, light.b)));
}
vec3 compress(vec3 light) {
  light = max(light, 0.0) / (1.0 + 0.94 * bloom * max(light.r, max(light.g, light.b)));
  return pow(light, vec3(1.0 / 2.2));
}
`;

const LAYERS = `${VIEW}${LIGHT}
layout(location = 0) out vec4 behind;
layout(location = 1) out vec4 people;
void main() {
  float alpha = texture(maps, uv).r;
  vec3 person, rest;
  split(texture(source, uv).rgb, alpha, person, rest);
  behind = vec4(expand(rest), 1.0);
  people = vec4(expand(person) * alpha, alpha);
}`;

/** @param {number} taps */
const gather = (taps) => `${FOCUS}
in vec2 uv;
uniform sampler2D maps, behindLayer, peopleLayer;
uniform vec2 size;          // of the view, in pixels
uniform vec2 points[${taps}];
uniform float spacing;      // between points, of the radius, in pixels of the layers
uniform float softness;     // square of the radius by which downscaled layers are blurred already: taken off
layout(location = 0) out vec4 behind;
layout(location = 1) out vec4 people;
vec4 spread(sampler2D layer, float radius) {
  vec2 reach = radius / size;
  float level = max(log2(max(radius * spacing, 1e-3)) - 0.75, 0.0); // a level lower: bilinear reading blurs too
  vec4 sum = vec4(0.0);
  for (int tap = 0; tap < ${taps}; tap++) sum += textureLod(layer, uv + points[tap] * reach, level);
  return sum / float(${taps});
}
void main() {
  vec2 radius = radii(texture(maps, uv));
  radius = sqrt(max(radius * radius - softness, 0.0));
  behind = spread(behindLayer, radius.y);
  people = spread(peopleLayer, radius.x);
}`;

// The sharp and the blurred picture are mixed where the radius is small: half size would soften parts that are nearly in
// focus. A pixel whose light was not moved at all equals the photo's, to the bit.
const COMPOSE = `${VIEW}${LIGHT}${FOCUS}
uniform sampler2D behindBlur, peopleBlur;
out vec4 result;
void main() {
  vec4 photo = texture(source, uv);
  vec4 map = texture(maps, uv);
  vec3 person, rest;
  split(photo.rgb, map.r, person, rest);
  vec2 blurred = smoothstep(vec2(0.5), vec2(2.0), radii(map));
  vec4 people = texture(peopleBlur, uv);
  vec3 behind = mix(rest, compress(texture(behindBlur, uv).rgb), blurred.y);
  float alpha = mix(map.r, people.a, blurred.x);
  person = mix(person, compress(people.rgb / max(people.a, 1e-4)), blurred.x * smoothstep(0.0, 0.05, people.a));
  bool kept = (blurred.y == 0.0 || alpha >= 0.996) && (blurred.x == 0.0 || max(map.r, people.a) < 0.004);
  result = vec4(kept ? photo.rgb : mix(behind, person, alpha), 1.0);
}`;

// The bloom that the layers of a view were drawn with.
/** @type {WeakMap<Target, number>} */
const drawnBloom = new WeakMap();

export class Bokeh {
  /**
   * @param {Stage} stage
   * @param {Cost} [cost]
   */
  constructor(stage, cost = CHEAP) {
    this.stage = stage;
    this.cost = cost;
    /** @type {Map<ShapeName, ReturnType<typeof aperture>>} */
    this.apertures = new Map();
  }

  /**
   * Draw a view with depth of field.
   *
   * @param {View} view
   * @param {Blur} blur
   * @param {Target} output
   */
  render(view, {focus, radius, shape, bloom, flat = false}, output) {
    const {stage, cost} = this;
    const common = {
      ...view.uniforms,
      focus,
      bloom,
      most: radius * view.diagonal,
      flat_: Number(flat),
      size: [view.width, view.height],
    };
    const [behindLayer, peopleLayer] = this.layers(view, bloom, common).textures;
    const {points, area} = this.aperture(shape);
    // Variances add up: of downscaling (a box) and of bilinear reading, twice (a tent each), against the same at size 1.
    const softness = (5 / 3) * (cost.scale ** 2 - 1);
    const spacing = cost.levels ? Math.sqrt(area / cost.taps) / cost.scale : 0;
    const blurred = this.target(view, 'blurred');
    stage.draw(gather(cost.taps), {...common, behindLayer, peopleLayer, points, spacing, softness}, blurred);
    const [behindBlur, peopleBlur] = blurred.textures;
    stage.draw(COMPOSE, {...common, behindBlur, peopleBlur}, output);
  }

  /**
   * Return the two layers of a view. They are drawn again only when the bloom changes: moving the focal plane costs the
   * gather and the last pass.
   *
   * @param {View} view
   * @param {number} bloom
   * @param {Record<string, UniformValue>} uniforms
   * @returns {Target}
   */
  layers(view, bloom, uniforms) {
    const layers = this.target(view, 'layers', this.cost.levels);
    if (drawnBloom.get(layers) !== bloom) this.stage.draw(LAYERS, uniforms, layers);
    drawnBloom.set(layers, bloom);
    return layers;
  }

  /**
   * Return a pair of textures that live as long as the view.
   *
   * @param {View} view
   * @param {string} name
   * @param {boolean} [mips]
   * @returns {Target}
   */
  target(view, name, mips = false) {
    const {scale, taps} = this.cost;
    const [width, height] = [view.width, view.height].map((size) => Math.max(Math.ceil(size / scale), 1));
    return view.target(`bokeh ${name} ${scale} ${taps}`, width, height, {format: 'RGBA16F', count: 2, mips});
  }

  /**
   * Return the points of a shape, computed once.
   *
   * @param {ShapeName} shape
   */
  aperture(shape) {
    const existing = this.apertures.get(shape);
    if (existing) return existing;
    const points = aperture(shape, this.cost.taps);
    this.apertures.set(shape, points);
    return points;
  }

  /**
   * Return the texture reads per pixel of the view, counted in the shaders' source. Mip levels are read and written
   * once more.
   *
   * @param {Cost} cost
   * @returns {number}
   */
  static reads({taps, scale, levels}) {
    /** @param {string} source */
    const calls = (source) => source.match(/\btexture(Lod)?\(/g)?.length ?? 0;
    const layers = calls(LAYERS);
    const gathering = 2 * taps + 1; // two layers, and the maps
    const composing = calls(COMPOSE);
    return (layers * (levels ? 4 / 3 : 1) + gathering) / scale ** 2 + composing;
  }
}
