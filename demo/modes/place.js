// Place: words and stickers that stand in the depth of a photo. What is nearer than they are hides them: people by
// their matte, hair by hair, everything else by its depth.

import {canvasOf} from '../app/photo.js';
import {VIEW} from '../gl/view.js';
import {draw, STICKERS} from './stickers.js';

const SOFT = 0.012; // of the depth: how gently a slanted surface cuts what stands in it
const LARGEST = 4096; // pixels a side of a drawn item: every WebGL 2 device holds it
const OWN = ['kind', 'text', 'picture', 'color', 'x', 'y', 'depth', 'size', 'turn'];
const COLORS = {white: '#ffffff', sun: '#ffd23f', coral: '#f2765d', sky: '#6fb7f2', leaf: '#8fd694', night: '#14161c'};
const KEYS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

// One item into the two layers of a photo, in front of which it may stand: coverage is 1 - what hides it there.
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

export const place = {
  id: 'place',
  title: 'Place',
  hint: 'Drag it; the slider takes it behind the person',

  // The chosen item's members lie flat in the settings, so that they glide; the others wait in `others`, far to near.
  start: (scene) => ({...text(scene, 'HELLO'), others: [], drag: 'place'}),

  controls: (scene) => [
    {kind: 'text', key: 'text', label: 'Words', shown: ({kind}) => kind === 'text'},
    {
      kind: 'range',
      key: 'depth',
      label: 'Depth',
      low: 'far',
      high: 'near',
      shown: isChosen,
      get: ({depth}) => scene.placeOf(depth ?? 0.5),
      set: (at) => ({depth: scene.depthOf(at)}),
    },
    {
      kind: 'actions',
      label: 'Where it stands',
      shown: isChosen,
      items: [
        {label: 'Behind the person', off: !scene.people.length, run: () => ({depth: behindPeople(scene)})},
        {label: 'Before everything', run: () => ({depth: 1.1})},
      ],
    },
    {kind: 'range', key: 'size', label: 'Size', low: 'small', high: 'large', min: 0.02, max: 1, shown: isChosen},
    {kind: 'range', key: 'turn', label: 'Turn', low: '↺', high: '↻', min: -1, max: 1, step: 0.01, shown: isChosen},
    {
      kind: 'choice',
      key: 'color',
      label: 'Colour',
      shown: ({kind}) => kind && kind !== 'picture',
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
        {label: 'Words', run: (settings) => added(settings, text(scene, 'Words'))},
        ...Object.keys(STICKERS).map((name) => ({
          label: name,
          run: (settings) => added(settings, sticker(scene, name)),
        })),
      ],
    },
    {
      kind: 'file',
      key: 'picture',
      label: 'Put in a picture',
      set: async (file, settings) => added(settings, {...sticker(scene, 'picture'), picture: await pictureOf(file)}),
    },
    {kind: 'actions', label: 'Take out', shown: isChosen, items: [{label: 'Take it out', run: removed}]},
  ],

  margin: () => 0,

  // Chooses what is under the finger; x and y move with it, or the depth does: up is away.
  drag(scene, {x, y, dx, dy, phase}, settings, change) {
    if (phase === 'start') {
      const found = hit(scene, settings, x, y);
      if (found && found !== settings) change(chosen(settings, found));
      this.dragging = Boolean(found);
      return this.dragging;
    }
    if (!this.dragging || !isChosen(settings)) return false;
    if (phase === 'end') this.dragging = false;
    else if (settings.drag === 'depth')
      change({depth: scene.depthOf(clamp(scene.placeOf(settings.depth) + dy * 1.2, 0, 1))});
    else change({x: clamp(settings.x + dx, 0, 1), y: clamp(settings.y + dy, 0, 1)});
    return true;
  },

  // Arrows move it across, with PageUp and PageDown in depth.
  key(scene, settings, name) {
    if (!isChosen(settings)) return null;
    if (name === 'Delete' || name === 'Backspace') return removed(settings);
    if (name === 'PageUp' || name === 'PageDown') {
      return {depth: scene.depthOf(clamp(scene.placeOf(settings.depth) + (name === 'PageUp' ? -0.03 : 0.03), 0, 1))};
    }
    const [dx, dy] = KEYS[name] ?? [0, 0];
    return dx || dy ? {x: clamp(settings.x + dx * 0.01, 0, 1), y: clamp(settings.y + dy * 0.01, 0, 1)} : null;
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
        const box = boxOf(scene, item);
        const {texture, free} = textureOf(stage, item, box.width * view.diagonal);
        stage.draw(
          ITEM,
          {
            ...view.uniforms,
            item: texture,
            matrix: box.inverse,
            middle: [item.x, item.y],
            photo: shapeOf(scene),
            depth: item.depth,
            soft: SOFT,
          },
          layers,
        );
        free?.();
      }
    } finally {
      gl.disable(gl.BLEND);
    }
    const [on_behind, on_people] = layers.textures;
    stage.draw(TOGETHER, {...view.uniforms, on_behind, on_people}, output);
  },
};

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const isChosen = ({kind}) => Boolean(kind);
const own = (settings) => Object.fromEntries(OWN.map((key) => [key, settings[key]]));
const NOTHING = Object.fromEntries(OWN.map((key) => [key, null]));

// As wide as the photo, behind the people: the one look that no flat editor has.
function text(scene, words) {
  const depth = behindPeople(scene);
  const size = Math.min((0.94 * shapeOf(scene)[0]) / far(depth), 1);
  return {kind: 'text', text: words, picture: null, color: COLORS.white, x: 0.5, y: 0.3, depth, size, turn: 0};
}

// New ones come into a free place, in front.
function added(settings, item) {
  const others = put(settings);
  const y = [0.3, 0.75, 0.5, 0.15, 0.9].find((at) => others.every((other) => Math.abs(other.y - at) > 0.1)) ?? 0.5;
  return {...item, y, others};
}

function sticker(scene, kind) {
  return {...text(scene, ''), kind, color: COLORS.sun, depth: 1.1, size: 0.2};
}

// Between the people's farthest and the middle of what is behind them, nearer to the people: a background has parts.
function behindPeople({people, pixels}) {
  if (!people.length) return 0.5;
  const rest = pixels.behind.filter((_, index) => pixels.alpha[index] < 0.1).sort();
  return (Math.min(...people.map(({all}) => all[0])) * 3 + (rest.length ? rest[rest.length >> 1] : 0)) / 4;
}

const items = (settings) => [...settings.others, ...(isChosen(settings) ? [settings] : [])];
const farToNear = (settings) => items(settings).sort((a, b) => a.depth - b.depth);
const put = (settings) => [...settings.others, ...(isChosen(settings) ? [own(settings)] : [])];
const chosen = (settings, item) => ({...own(item), others: put(settings).filter((other) => !same(other, item))});
const same = (a, b) => OWN.every((key) => a[key] === b[key]);

function removed(settings) {
  const others = [...settings.others];
  return {...NOTHING, ...(others.pop() ?? {}), others};
}

// The nearest item at a place of the photo.
function hit(scene, settings, x, y) {
  const [width, height] = shapeOf(scene);
  return farToNear(settings)
    .reverse()
    .find((item) => {
      const [a, b, c, d] = boxOf(scene, item).inverse;
      const [dx, dy] = [(x - item.x) * width, (y - item.y) * height];
      return Math.abs(a * dx + c * dy) <= 0.5 && Math.abs(b * dx + d * dy) <= 0.5;
    });
}

const shapeOf = ({width, height}) => [width, height].map((side) => side / Math.hypot(width, height));

// Far things are smaller.
const far = (depth) => 0.55 + 0.45 * clamp(depth, 0, 1.1);

// An item's width and height, of the photo's diagonal, and the way from the photo into it.
function boxOf(scene, item) {
  const ratio = drawn(item).ratio;
  const width = item.size * far(item.depth);
  const height = width / ratio;
  const [cos, sin] = [Math.cos(item.turn * Math.PI), Math.sin(item.turn * Math.PI)];
  return {width, height, inverse: [cos / width, -sin / height, sin / width, cos / height]};
}

// What an item looks like, at any size: drawn once a look.
const looks = new Map();

function drawn({kind, text: words, color, picture}) {
  if (kind === 'picture')
    return {
      ratio: picture.width / picture.height,
      paint: (context, width, height) => context.drawImage(picture, 0, 0, width, height),
    };
  const key = JSON.stringify([kind, words, color]);
  if (!looks.has(key)) looks.set(key, draw(kind, words, color));
  return looks.get(key);
}

// A texture as wide as it is shown. The preview's sizes are kept, by powers of two; a tile's goes with the tile.
const textures = new WeakMap();

function textureOf(stage, item, pixels) {
  const {ratio, paint} = drawn(item);
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(pixels, 64)));
  const width = Math.max(Math.round(Math.min(wanted, LARGEST, LARGEST * ratio)), 1);
  const height = Math.max(Math.round(width / ratio), 1);
  const key = JSON.stringify([item.kind, item.text, item.color, width, item.picture?.id]);
  if (!textures.has(stage)) textures.set(stage, new Map());
  const kept = textures.get(stage);
  if (kept.has(key)) return {texture: kept.get(key)};
  const {canvas, context} = canvasOf(width, height);
  paint(context, width, height);
  const {gl} = stage;
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
  const texture = stage.texture(canvas);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  canvas.width = canvas.height = 0;
  if (width > 2048) return {texture, free: () => stage.free(texture)};
  if (kept.size >= 48) {
    stage.free(...kept.values());
    kept.clear();
  }
  kept.set(key, texture);
  return {texture};
}

let pictures = 0;

async function pictureOf(file) {
  const bitmap = await createImageBitmap(file);
  const factor = Math.min(2048 / Math.max(bitmap.width, bitmap.height), 1);
  const {canvas, context} = canvasOf(
    Math.max(Math.round(bitmap.width * factor), 1),
    Math.max(Math.round(bitmap.height * factor), 1),
  );
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  pictures += 1;
  return Object.assign(canvas, {id: pictures});
}
