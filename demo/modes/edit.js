// Edit: light and colour of the near and the far part of a photo, each on its own. A threshold on the histogram of
// depths, with a soft transition, separates the two. The part that is not edited keeps its pixels.

/** @import {Scene} from '../app/scene.js' */
/** @import {PaintedMode, RangeControl} from './types.d.ts' */

import {VIEW} from '../gl/view.js';
import {backgroundDepth, farthestPerson} from './depths.js';

/** @typedef {'near' | 'far'} Part */
/** @typedef {'exposure' | 'contrast' | 'saturation' | 'temperature'} Slider */

/**
 * A slider's setting is named `<part>.<slider>`; each is in [-1, 1].
 *
 * @typedef {Record<`${Part}.${Slider}`, number> & {part: Part, threshold: number, softness: number}} EditSettings
 */

/** @type {Slider[]} in the order of the shader's vectors */
const SLIDERS = ['exposure', 'contrast', 'saturation', 'temperature'];
/** @type {Record<Slider, {label: string, low: string, high: string}>} */
const WORDS = {
  exposure: {label: 'Exposure', low: 'dark', high: 'bright'},
  contrast: {label: 'Contrast', low: 'flat', high: 'hard'},
  saturation: {label: 'Saturation', low: 'grey', high: 'vivid'},
  temperature: {label: 'Temperature', low: 'cool', high: 'warm'},
};

const EDIT = `${VIEW}
uniform vec4 near, far;       // exposure, contrast, saturation, temperature, each -1 to 1
uniform float threshold, softness;
out vec4 result;
vec3 edited(vec3 color, vec4 by) {
  if (by == vec4(0.0)) return color;
  vec3 light = pow(color, vec3(2.2)) * exp2(by.x * 2.0);
  light *= vec3(1.0 + 0.35 * by.w, 1.0, 1.0 - 0.35 * by.w);
  light /= 1.0 + 0.35 * by.w * (0.2126 - 0.0722); // as bright as before
  vec3 shown = pow(clamp(light, 0.0, 1.0), vec3(1.0 / 2.2));
  shown = (shown - 0.45) * exp2(by.y) + 0.45;
  float grey = dot(shown, vec3(0.2126, 0.7152, 0.0722));
  return clamp(mix(vec3(grey), shown, 1.0 + by.z), 0.0, 1.0);
}
void main() {
  vec4 photo = texture(source, uv);
  vec4 map = texture(maps, uv);
  // Both layers are compared with the threshold and mixed by the matte: an outline is as sharp as the matte, not as
  // soft as the transition in depth.
  vec2 in_front = smoothstep(threshold - softness, threshold + softness, map.gb);
  float share = mix(in_front.y, in_front.x, map.r);
  vec3 color = share <= 0.0 ? edited(photo.rgb, far) : share >= 1.0 ? edited(photo.rgb, near)
    : mix(edited(photo.rgb, far), edited(photo.rgb, near), share);
  result = vec4(color, 1.0);
}`;

/**
 * Return the sliders of one part.
 *
 * @param {Part} part
 * @param {string} title
 * @returns {RangeControl<EditSettings>[]}
 */
function sliders(part, title) {
  return SLIDERS.map((slider) => {
    const {label, low, high} = WORDS[slider];
    return {
      kind: 'range',
      key: `${part}.${slider}`,
      label: `${title} ${label.toLowerCase()}`,
      short: label,
      min: -1,
      max: 1,
      low,
      high,
      shown: (settings) => settings.part === part,
    };
  });
}

/** @type {PaintedMode<EditSettings>} */
export const edit = {
  id: 'edit',
  title: 'Edit',
  hint: 'Light the person and the background apart',

  start: (scene) => ({
    'near.exposure': 0,
    'near.contrast': 0,
    'near.saturation': 0,
    'near.temperature': 0,
    'far.exposure': 0,
    'far.contrast': 0,
    'far.saturation': 0,
    'far.temperature': 0,
    part: 'far',
    threshold: thresholdOf(scene),
    softness: 0.05,
  }),

  controls: (scene) => [
    {
      kind: 'choice',
      key: 'part',
      label: 'Part',
      items: [
        {value: 'near', label: 'Foreground'},
        {value: 'far', label: 'Background'},
      ],
    },
    ...sliders('near', 'Foreground'),
    ...sliders('far', 'Background'),
    {
      kind: 'histogram',
      key: 'threshold',
      label: 'Depth threshold',
      values: scene.pixels.depth,
      spread: 'softness',
    },
    {kind: 'range', key: 'softness', label: 'Softness', low: 'sharp', high: 'soft', min: 0.002, max: 0.2, step: 0.002},
  ],

  margin: () => 0,

  render({stage, view, settings, output}) {
    /** @param {Part} part */
    const values = (part) => SLIDERS.map((slider) => settings[`${part}.${slider}`]);
    const {threshold, softness} = settings;
    stage.draw(EDIT, {...view.uniforms, near: values('near'), far: values('far'), threshold, softness}, output);
  },
};

/**
 * Return the depth that separates people from their background best: two thirds of the way from the background's
 * median to the people's farthest.
 *
 * @param {Scene} scene
 * @returns {number} 0.5 without people
 */
function thresholdOf(scene) {
  if (!scene.people.length) return 0.5;
  return (farthestPerson(scene) * 2 + backgroundDepth(scene)) / 3;
}
