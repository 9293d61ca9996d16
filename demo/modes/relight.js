// Relight: a lamp that is dragged around the people. Shading comes from the net's surface normals, shadows from its depth.

/** @import {PaintedMode} from './types.d.ts' */

import {VIEW} from '../gl/view.js';
import {rgbOf} from './color.js';

/**
 * `azimuth` and `height` are degrees: right of and above the line to the camera. `distance` is in heights of the photo.
 * `strength` and `room` (how dark the background becomes) are in [0, 1], `warmth` is in [-1, 1].
 *
 * @typedef {{azimuth: number, height: number, distance: number, strength: number, warmth: number, room: number}}
 *   RelightSettings
 */

const DEGREES = Math.PI / 180;
const WIDEST = 100; // degrees to either side that a drag reaches
const HIGHEST = 70;
const KEY_STEP = 5; // degrees
const WARM = rgbOf('#ffb877');
const COLD = rgbOf('#9cc4ff');
const WHITE = [1, 1, 1];
/** @type {Record<string, Partial<RelightSettings>>} */
const PRESETS = {
  Key: {azimuth: -50, height: 30, distance: 1.2, strength: 0.7, warmth: 0.1},
  Fill: {azimuth: 35, height: 5, distance: 2, strength: 0.4, warmth: 0},
  Rim: {azimuth: 140, height: 25, distance: 1, strength: 0.9, warmth: 0.2},
};
/** @type {Record<string, Partial<Record<'azimuth' | 'height', number>>>} */
const KEYS = {
  ArrowLeft: {azimuth: -KEY_STEP},
  ArrowRight: {azimuth: KEY_STEP},
  ArrowUp: {height: KEY_STEP},
  ArrowDown: {height: -KEY_STEP},
};

// The photo's own light stays in its colours, so the lamp is a gain on them: below 1 where a surface faces away from it,
// above 1 where it faces it. Gains above 1 bend towards white instead of clipping.
const RELIGHT = `${VIEW}
uniform sampler2D normals;
uniform vec3 lamp;        // position: x right, y up, z to the camera, in heights of the photo from its middle
uniform vec3 colour;
uniform float strength, room, aspect;
out vec4 result;
const float WRAP = 0.25, SHADE = 0.45, LIGHT = 1.5, RELIEF = 0.6;
const int STEPS = 12;
vec3 place(vec2 at, float depth) { return vec3((at.x - 0.5) * aspect, 0.5 - at.y, (depth - 0.5) * RELIEF); }
// How much of the lamp is seen from a point: less where the people's depth rises above the way to the lamp.
float seen(vec2 at, float depth, vec3 way) {
  float hidden = 0.0;
  for (int i = 1; i <= STEPS; i++) {
    vec3 on = place(at, depth) + way * (0.22 * float(i) / float(STEPS));
    vec2 there = vec2(on.x / aspect + 0.5, 0.5 - on.y);
    vec2 local = (there - region.xy) / region.zw;
    if (any(lessThan(local, vec2(0.0))) || any(greaterThan(local, vec2(1.0)))) break;
    vec4 map = texture(maps, local);
    float rise = (map.g - 0.5) * RELIEF - on.z;
    hidden = max(hidden, map.r * smoothstep(0.02, 0.10, rise));
  }
  return 1.0 - 0.7 * hidden;
}
vec3 gained(vec3 color, vec3 gain) {
  return mix(color * gain, 1.0 - pow(1.0 - color, max(gain, 1.0)), step(1.0, gain));
}
void main() {
  vec4 photo = texture(source, uv);
  vec4 map = texture(maps, uv);
  if (strength == 0.0 && room == 0.0) { result = vec4(photo.rgb, 1.0); return; }
  vec3 person, behind;
  split(photo.rgb, map.r, person, behind);
  if (map.r == 1.0) person = photo.rgb;
  if (map.r == 0.0) behind = photo.rgb;
  vec2 at = inPhoto();
  vec3 n = normalize(texture(normals, at).xyz * 2.0 - 1.0);
  vec3 toLamp = lamp - place(at, map.g);
  vec3 way = normalize(toLamp);
  float diffuse = max((dot(n, way) + WRAP) / (1.0 + WRAP), 0.0);
  float near = clamp(dot(lamp, lamp) / dot(toLamp, toLamp), 0.25, 4.0);
  float lit = diffuse * near * seen(at, map.g, way);
  vec3 gain = mix(vec3(1.0), SHADE + LIGHT * lit * colour, strength);
  vec3 linear = gained(pow(person, vec3(2.2)), gain);
  vec3 shown = pow(clamp(linear, 0.0, 1.0), vec3(1.0 / 2.2));
  float dark = 1.0 - 0.85 * room;
  vec3 around = room == 0.0 ? behind : pow(pow(behind, vec3(2.2)) * dark, vec3(1.0 / 2.2));
  result = vec4(mix(around, shown, map.r), 1.0);
}`;

/**
 * Return the lamp's position for the shader.
 *
 * @param {RelightSettings} settings
 * @returns {number[]}
 */
export function lampOf({azimuth, height, distance}) {
  const level = Math.cos(height * DEGREES);
  const way = [Math.sin(azimuth * DEGREES) * level, Math.sin(height * DEGREES), Math.cos(azimuth * DEGREES) * level];
  return way.map((part) => part * distance);
}

/**
 * Return the lamp's colour: white, towards warm or cold.
 *
 * @param {number} warmth
 * @returns {number[]}
 */
function colourOf(warmth) {
  const end = warmth < 0 ? COLD : WARM;
  return WHITE.map((white, channel) => white + (end[channel] - white) * Math.abs(warmth));
}

/** @param {number} value @param {number} limit */
const within = (value, limit) => Math.min(Math.max(value, -limit), limit);

/** @type {PaintedMode<RelightSettings>} */
export const relight = {
  id: 'relight',
  title: 'Relight',
  hint: 'Drag the lamp around the person',
  judge: 'surface-normals',

  start: () => /** @type {RelightSettings} */ ({...PRESETS.Key, room: 0}),

  controls: () => [
    {
      kind: 'actions',
      label: 'Lamp',
      items: Object.entries(PRESETS).map(([label, preset]) => ({label, run: () => preset})),
    },
    {kind: 'range', key: 'strength', label: 'Strength', low: 'off', high: 'bright'},
    {kind: 'range', key: 'azimuth', label: 'Side', low: 'left', high: 'right', min: -180, max: 180, step: 1},
    {kind: 'range', key: 'height', label: 'Height', low: 'below', high: 'above', min: -HIGHEST, max: HIGHEST, step: 1},
    {kind: 'range', key: 'distance', label: 'Distance', low: 'near', high: 'far', min: 0.4, max: 3, step: 0.01},
    {kind: 'range', key: 'warmth', label: 'Colour', low: 'cold', high: 'warm', min: -1, max: 1},
    {kind: 'range', key: 'room', label: 'Room', low: 'as it is', high: 'dark'},
  ],

  tap: (_, {x, y}) => ({azimuth: (x - 0.5) * 2 * WIDEST, height: within((0.5 - y) * 2 * HIGHEST, HIGHEST)}),

  drag(_, {x, y}, __, change) {
    change({azimuth: within((x - 0.5) * 2 * WIDEST, WIDEST), height: within((0.5 - y) * 2 * HIGHEST, HIGHEST)});
    return true;
  },

  key(_, {azimuth, height}, name) {
    const step = KEYS[name];
    if (!step) return null;
    return {
      azimuth: within(azimuth + (step.azimuth ?? 0), 180),
      height: within(height + (step.height ?? 0), HIGHEST),
    };
  },

  // The occlusion looks this far, as a share of the photo's height.
  margin: () => 0.22,

  render({stage, scene, view, settings, output}) {
    if (!scene.normals) throw new Error('this net has no surface normals');
    const {strength, room, warmth} = settings;
    stage.draw(
      RELIGHT,
      {
        ...view.uniforms,
        normals: scene.normals,
        lamp: lampOf(settings),
        colour: colourOf(warmth),
        strength,
        room,
        aspect: scene.width / scene.height,
      },
      output,
    );
  },
};
