// Cut-out: the people without their background, or before another one.

import {canvasOf} from '../app/photo.js';
import {VIEW} from '../gl/view.js';
import {bokehOf} from './refocus.js';

const BLUR = 0.03; // radius at full strength, of the photo's diagonal
const COLORS = {paper: '#f4f1ea', sky: '#8fb8de', coral: '#f2765d', forest: '#27463a', night: '#14161c'};

// How a picture of another shape covers the photo: scale and offset of its coordinates.
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

const rgba = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).concat(1);

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
      set: async (file) => ({picture: await pictureOf(file), background: 'picture'}),
    },
  ],

  margin: ({background, blur}) => (background === 'blur' ? blur * BLUR : 0),

  render({stage, scene, view, settings, output}) {
    const {background, blur, picture} = settings;
    if (background === 'blur') {
      bokehOf(stage).render(view, {focus: [0, 0], radius: blur * BLUR, shape: 'disc', bloom: 0.5, flat: true}, output);
      return;
    }
    const filled = background === 'picture' && picture ? 1 : 0;
    const texture = filled ? textureOf(stage, picture) : view.source;
    const color = filled ? [0, 0, 0, 1] : COLORS[background] ? rgba(COLORS[background]) : [0, 0, 0, 0];
    const shape = (scene.width / scene.height) * (texture.height / texture.width);
    stage.draw(
      CUT,
      {...view.uniforms, picture: texture, cover: [Math.min(shape, 1), Math.min(1 / shape, 1)], color, filled},
      output,
    );
  },
};

const textures = new WeakMap();

function textureOf(stage, picture) {
  if (!textures.has(picture)) textures.set(picture, stage.texture(picture));
  return textures.get(picture);
}

async function pictureOf(file) {
  const bitmap = await createImageBitmap(file);
  const factor = Math.min(1600 / Math.max(bitmap.width, bitmap.height), 1);
  const {canvas, context} = canvasOf(Math.round(bitmap.width * factor), Math.round(bitmap.height * factor));
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}
