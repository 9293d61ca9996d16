// Cut-out: the people without their background, or before another one.

/** @import {Stage, Texture} from '../gl/stage.js' */
/** @import {PaintedMode} from './types.d.ts' */

import {pictureOf} from '../app/photo.js';
import {VIEW} from '../gl/view.js';
import {rgbOf} from './color.js';
import {bokehOf} from './refocus.js';

/**
 * `background` is "clear", "blur", "picture" or a name of COLORS; `blur` in [0, 1] is of BLUR.
 *
 * @typedef {{background: string, blur: number, picture: HTMLCanvasElement | null}} CutoutSettings
 */

const BLUR = 0.03; // radius at full strength, of the photo's diagonal
const PICTURE_SIDE = 1600; // pixels, at most
/** @type {Record<string, string>} */
const COLORS = {paper: '#f4f1ea', sky: '#8fb8de', coral: '#f2765d', forest: '#27463a', night: '#14161c'};
const CLEAR = [0, 0, 0, 0];
const BLACK = [0, 0, 0, 1];

// `cover` scales the coordinates of a picture of another shape, so that it covers the photo.
const CUT = `${VIEW}
uniform sampler2D picture;
uniform vec2 cover;
uniform vec4 color;   // its alpha: 0 leaves the background clear
uniform int filled;   // 0 colour, 1 picture
out vec4 result;
void main() {
  float alpha = texture(maps, uv).r;
  vec4 photo = texture(source, uv);
  vec3 person, behind;
  split(photo.rgb, alpha, person, behind);
  if (alpha == 1.0) person = photo.rgb;
  vec3 new = filled == 1 ? texture(picture, (inPhoto() - 0.5) * cover + 0.5).rgb : color.rgb;
  result = color.a > 0.0 ? vec4(mix(new, person, alpha), 1.0) : vec4(person, alpha);
}`;

/** @type {PaintedMode<CutoutSettings>} */
export const cutout = {
  id: 'cutout',
  title: 'Cut-out',
  hint: 'The background goes, hair stays',
  transparent: ({background}) => background === 'clear',

  start: () => ({background: 'clear', blur: 0.6, picture: null}),

  controls: () => [
    {
      kind: 'choice',
      key: 'background',
      label: 'Background',
      items: [
        {value: 'clear', label: 'transparent', icon: '▦'},
        {value: 'blur', label: 'blurred', icon: '◌'},
        ...Object.entries(COLORS).map(([value, swatch]) => ({value, label: value, swatch})),
        {value: 'picture', label: 'your picture', icon: '＋', shown: ({picture}) => Boolean(picture)},
      ],
    },
    {
      kind: 'range',
      key: 'blur',
      label: 'Blur',
      low: 'soft',
      high: 'strong',
      shown: ({background}) => background === 'blur',
    },
    {
      kind: 'file',
      key: 'picture',
      label: 'Choose a background picture',
      set: async (file) => ({picture: await pictureOf(file, PICTURE_SIDE), background: 'picture'}),
    },
  ],

  margin: ({background, blur}) => (background === 'blur' ? blur * BLUR : 0),

  render({stage, scene, view, settings, output}) {
    const {background, blur, picture} = settings;
    if (background === 'blur') {
      const radius = blur * BLUR;
      bokehOf(stage).render(view, {focus: [0, 0], radius, shape: 'disc', bloom: 0.5, flat: true}, output);
      return;
    }
    const filled = background === 'picture' && picture;
    const texture = filled ? textureOf(stage, picture) : view.source;
    const color = filled ? BLACK : colorOf(background);
    const shape = (scene.width / scene.height) * (texture.height / texture.width);
    const cover = [Math.min(shape, 1), Math.min(1 / shape, 1)];
    stage.draw(CUT, {...view.uniforms, picture: texture, cover, color, filled: Boolean(filled)}, output);
  },
};

/**
 * Return a background's colour as RGBA in [0, 1]; clear where it has none.
 *
 * @param {string} background
 * @returns {number[]}
 */
function colorOf(background) {
  const hex = COLORS[background];
  return hex ? [...rgbOf(hex), 1] : CLEAR;
}

/** @type {WeakMap<HTMLCanvasElement, Texture>} */
const textures = new WeakMap();

/**
 * Return the texture of a picture, uploaded once.
 *
 * @param {Stage} stage
 * @param {HTMLCanvasElement} picture
 * @returns {Texture}
 */
function textureOf(stage, picture) {
  const existing = textures.get(picture);
  if (existing) return existing;
  const texture = stage.texture(picture);
  textures.set(picture, texture);
  return texture;
}
