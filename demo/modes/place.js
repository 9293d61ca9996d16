// Place: words and stickers that stand in the depth of a photo. Nearer parts of the photo hide them: people by their
// matte, hair by hair, everything else by its depth.

/** @import {Scene} from '../app/scene.js' */
/** @import {PaintedMode} from './types.d.ts' */
/** @import {Item, PlaceSettings} from './items.js' */

import {pictureOf} from '../app/photo.js';
import {VIEW} from '../gl/view.js';
import {
  add,
  behindPeople,
  boxOf,
  choose,
  farToNear,
  hit,
  isChosen,
  remove,
  shapeOf,
  sticker,
  text,
  textureOf,
} from './items.js';
import {STICKERS} from './stickers.js';

const SOFT = 0.012; // of the depth: how gently a slanted surface cuts an item that stands in it
const PICTURE_SIDE = 2048; // pixels, at most
const IN_FRONT = 1.1; // a depth before everything
const KEY_STEP = 0.01; // of the photo's sides
const DEPTH_STEP = 0.03; // of the slider
const DRAG_DEPTH = 1.2; // of the slider, over the photo's height
/** @type {Record<string, string>} */
const COLORS = {
  white: '#ffffff',
  sun: '#ffd23f',
  coral: '#f2765d',
  sky: '#6fb7f2',
  leaf: '#8fd694',
  night: '#14161c',
};
/** @type {Record<string, [number, number]>} */
const KEYS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

// Draws one item into both layers of a photo. In each layer its coverage is 1 minus the coverage of nearer parts.
const ITEM = `${VIEW}
uniform sampler2D item;      // premultiplied
uniform vec4 matrix;         // from the photo, in pixels of its diagonal around the middle, to the item
uniform vec2 middle, photo;  // the item's middle; the photo's width and height, of its diagonal
uniform float depth, soft;
layout(location = 0) out vec4 behind;
layout(location = 1) out vec4 people;
void main() {
  vec2 away = (inPhoto() - middle) * photo;
  vec2 at = mat2(matrix.xy, matrix.zw) * away + 0.5;
  if (any(lessThan(at, vec2(0.0))) || any(greaterThan(at, vec2(1.0)))) discard;
  vec4 color = texture(item, at);
  vec2 nearer = texture(maps, uv).gb;
  vec2 shown = 1.0 - smoothstep(-soft, soft, nearer - depth);
  people = color * shown.x;
  behind = color * shown.y;
}`;

const TOGETHER = `${VIEW}
uniform sampler2D on_behind, on_people;
out vec4 result;
void main() {
  vec4 below = texture(on_behind, uv), above = texture(on_people, uv);
  vec3 photo = texture(source, uv).rgb;
  if (below.a == 0.0 && above.a == 0.0) {
    result = vec4(photo, 1.0);
    return;
  }
  float alpha = texture(maps, uv).r;
  vec3 person, rest;
  split(photo, alpha, person, rest);
  if (alpha == 1.0) person = photo;
  if (alpha == 0.0) rest = photo;
  rest = rest * (1.0 - below.a) + below.rgb;
  person = person * (1.0 - above.a) + above.rgb;
  result = vec4(mix(rest, person, alpha), 1.0);
}`;

let dragging = false;

/** @type {PaintedMode<PlaceSettings>} */
export const place = {
  id: 'place',
  title: 'Place',
  hint: 'Drag it; the slider takes it behind the person',

  start: (scene) => ({...text(scene, 'HELLO', COLORS.white), others: [], drag: 'place'}),

  controls: (scene) => [
    {kind: 'text', key: 'text', label: 'Words', shown: ({kind}) => kind === 'text'},
    {
      kind: 'range',
      key: 'depth',
      label: 'Depth',
      low: 'far',
      high: 'near',
      shown: isChosen,
      get: ({depth}) => scene.sliderOf(depth ?? 0.5),
      set: (position) => ({depth: scene.depthOf(position)}),
    },
    {
      kind: 'actions',
      label: 'Where it stands',
      shown: isChosen,
      items: [
        {label: 'Behind the person', off: !scene.people.length, run: () => ({depth: behindPeople(scene)})},
        {label: 'Before everything', run: () => ({depth: IN_FRONT})},
      ],
    },
    {kind: 'range', key: 'size', label: 'Size', low: 'small', high: 'large', min: 0.02, max: 1, shown: isChosen},
    {kind: 'range', key: 'turn', label: 'Turn', low: '↺', high: '↻', min: -1, max: 1, step: 0.01, shown: isChosen},
    {
      kind: 'choice',
      key: 'color',
      label: 'Colour',
      shown: ({kind}) => Boolean(kind) && kind !== 'picture',
      items: Object.entries(COLORS).map(([label, value]) => ({value, label, swatch: value})),
    },
    {
      kind: 'choice',
      key: 'drag',
      label: 'Dragging moves it',
      shown: isChosen,
      items: [
        {value: 'place', label: 'across'},
        {value: 'depth', label: 'in depth'},
      ],
    },
    {
      kind: 'actions',
      label: 'Put in',
      items: [
        {label: 'Words', run: (settings) => add(settings, text(scene, 'Words', COLORS.white))},
        ...Object.keys(STICKERS).map((name) => ({
          label: name,
          /** @param {PlaceSettings} settings */
          run: (settings) => add(settings, newSticker(scene, name)),
        })),
      ],
    },
    {
      kind: 'file',
      key: 'picture',
      label: 'Put in a picture',
      set: async (file, settings) => {
        const picture = await pictureOf(file, PICTURE_SIDE);
        return add(settings, {...newSticker(scene, 'picture'), picture});
      },
    },
    {kind: 'actions', label: 'Take out', shown: isChosen, items: [{label: 'Take it out', run: remove}]},
  ],

  margin: () => 0,

  // A press chooses the item under it. The item then moves with the pointer, or in depth: up is away.
  drag(scene, {x, y, dx, dy, phase}, settings, change) {
    if (phase === 'start') {
      const item = hit(scene, settings, x, y);
      if (item && item !== settings) change(choose(settings, item));
      dragging = Boolean(item);
      return dragging;
    }
    if (!dragging || !isChosen(settings)) return false;
    if (phase === 'end') dragging = false;
    else if (settings.drag === 'depth') change({depth: movedInDepth(scene, settings.depth, dy * DRAG_DEPTH)});
    else change(movedAcross(settings, dx, dy));
    return true;
  },

  // Arrows move the item across, PageUp and PageDown in depth.
  key(scene, settings, name) {
    if (!isChosen(settings)) return null;
    if (name === 'Delete' || name === 'Backspace') return remove(settings);
    if (name === 'PageUp') return {depth: movedInDepth(scene, settings.depth, -DEPTH_STEP)};
    if (name === 'PageDown') return {depth: movedInDepth(scene, settings.depth, DEPTH_STEP)};
    const direction = KEYS[name];
    return direction ? movedAcross(settings, direction[0] * KEY_STEP, direction[1] * KEY_STEP) : null;
  },

  render({stage, scene, view, settings, output}) {
    const {gl} = stage;
    const layers = view.target('place', view.width, view.height, {count: 2});
    gl.bindFramebuffer(gl.FRAMEBUFFER, layers.framebuffer);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    try {
      for (const item of farToNear(settings)) {
        const box = boxOf(item);
        const {texture, free} = textureOf(stage, item, box.width * view.diagonal);
        const uniforms = {
          item: texture,
          matrix: box.inverse,
          middle: [item.x, item.y],
          photo: shapeOf(scene),
          depth: item.depth,
          soft: SOFT,
        };
        stage.draw(ITEM, {...view.uniforms, ...uniforms}, layers);
        free?.();
      }
    } finally {
      gl.disable(gl.BLEND);
    }
    const [on_behind, on_people] = layers.textures;
    stage.draw(TOGETHER, {...view.uniforms, on_behind, on_people}, output);
  },
};

/**
 * Return a new sticker, before everything.
 *
 * @param {Scene} scene
 * @param {string} kind
 * @returns {Item}
 */
const newSticker = (scene, kind) => sticker(scene, kind, {color: COLORS.sun, depth: IN_FRONT});

/**
 * Move an item across the photo.
 *
 * @param {Item} item
 * @param {number} dx of the photo's width
 * @param {number} dy of the photo's height
 */
function movedAcross({x, y}, dx, dy) {
  return {x: Math.min(Math.max(x + dx, 0), 1), y: Math.min(Math.max(y + dy, 0), 1)};
}

/**
 * Move a depth along the slider.
 *
 * @param {Scene} scene
 * @param {number} depth
 * @param {number} by positive: nearer
 */
function movedInDepth(scene, depth, by) {
  return scene.depthOf(Math.min(Math.max(scene.sliderOf(depth) + by, 0), 1));
}
