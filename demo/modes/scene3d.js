// 3D: the photo as two surfaces in space, the people and the background behind them, seen from the camera's position
// and from beside it. Parallax by pointer or tilt, an orbit, points, a depth map; GLB and PLY to save.

/** @import {Scene} from '../app/scene.js' */
/** @import {Stage} from '../gl/stage.js' */
/** @import {SpaceSettings} from './space.js' */
/** @import {MountedMode} from './types.d.ts' */

import {messageOf} from '/runtime/errors.js';
import {contextOf} from '../app/photo.js';
import {VIEW} from '../gl/view.js';
import {h} from '../ui/dom.js';
import {Space} from './space.js';

/**
 * The mode in an element: from `mount` to `stop`, while three is loaded too.
 *
 * @typedef {{host: HTMLElement, scene: Scene, settings: SpaceSettings, stopped: boolean}} Mounted
 */

const SIDE = 1280; // pixels of the layers' images, at most
const PEOPLE = 0;
const BEHIND = 1;

// The colours of one layer, and the people's matte. Beside a person, where the eye looks behind them, remains of the
// person outside the matte's edge would show as a ghost. The filled-in background replaces them there.
const LAYER = `${VIEW}
uniform int which; // 0 people, 1 behind them
out vec4 result;
void main() {
  float alpha = texture(maps, uv).r;
  vec3 photo = texture(source, uv).rgb;
  if (which == 0) {
    vec3 person, rest;
    split(photo, alpha, person, rest);
    result = vec4(alpha == 1.0 ? photo : person, alpha);
    return;
  }
  vec2 size = vec2(textureSize(maps, 0));
  float reach = length(size) * 0.006, most = alpha;
  for (int index = 0; index < 16; index++) {
    float angle = float(index) * 0.7854;
    vec2 aside = vec2(cos(angle), sin(angle)) * reach * (index < 8 ? 1.0 : 0.5);
    most = max(most, texture(maps, uv + aside / size).r);
  }
  result = vec4(mix(photo, texture(back, inPhoto()).rgb, smoothstep(0.02, 0.2, most)), 1.0);
}`;

/** @type {MountedMode<SpaceSettings> & {mounted: Mounted | null, space: Space | null}} */
export const scene3d = {
  id: 'scene3d',
  title: '3D',
  hint: 'Move over the photo, tilt the phone, or turn it around',
  formats: ['glb', 'ply', 'png'],
  saved: 'GLB: both surfaces with their colours. PLY: the points. PNG: what is seen now.',
  mounted: null,
  space: null,

  start: () => ({motion: 'parallax', look: 'photo', shape: 'mesh', relief: 0.5, home: 0}),

  controls: () => [
    {
      kind: 'choice',
      key: 'motion',
      label: 'Motion',
      items: [
        {value: 'parallax', label: 'Parallax'},
        {value: 'orbit', label: 'Orbit'},
      ],
    },
    {
      kind: 'choice',
      key: 'look',
      label: 'Look',
      items: [
        {value: 'photo', label: 'Photo'},
        {value: 'depth', label: 'Depth'},
      ],
    },
    {
      kind: 'choice',
      key: 'shape',
      label: 'Shape',
      items: [
        {value: 'mesh', label: 'Surface'},
        {value: 'points', label: 'Points'},
      ],
    },
    {kind: 'range', key: 'relief', label: 'Relief', low: 'flat', high: 'deep'},
    {
      kind: 'actions',
      label: 'Camera',
      items: [{label: 'Back to the camera', run: ({home}) => ({home: home + 1})}],
    },
    {
      kind: 'actions',
      label: 'Tilt',
      shown: () => Boolean(tiltPermission()),
      items: [{label: 'Let it feel the tilt', run: askForTilt}],
    },
  ],

  mount(host, {stage, scene, settings}) {
    this.stop();
    const mounted = {host, scene, settings, stopped: false};
    this.mounted = mounted;
    const images = {people: layerImage(stage, scene, PEOPLE), behind: layerImage(stage, scene, BEHIND)};
    host.replaceChildren(h('p', {class: 'mount-note', role: 'status'}, 'Building it …'));
    Promise.all([import('three'), import('three/addons/controls/OrbitControls.js')])
      .then(([three, {OrbitControls}]) => {
        if (mounted.stopped) return;
        this.space = new Space(three, OrbitControls, host, {scene, images, settings: mounted.settings});
      })
      .catch((error) => {
        if (mounted.stopped) return;
        const reason = `3D is not possible here: ${messageOf(error)}`;
        host.replaceChildren(h('p', {class: 'mount-note', role: 'alert'}, reason));
      });
  },

  update(settings) {
    if (this.mounted) this.mounted.settings = settings;
    this.space?.update(settings);
  },

  stop() {
    this.space?.close();
    if (this.mounted) {
      this.mounted.stopped = true;
      this.mounted.host.replaceChildren();
    }
    this.mounted = null;
    this.space = null;
  },

  async save(format) {
    if (!this.space) throw new Error('The 3D view is not there yet.');
    return this.space.save(format);
  },
};

/** Return the function that asks to read a phone's tilt, on browsers that want to be asked. Only a tap may ask. */
function tiltPermission() {
  if (!matchMedia('(pointer: coarse)').matches) return undefined;
  const Tilt = /** @type {{requestPermission?: () => Promise<string>} | undefined} */ (
    globalThis.DeviceOrientationEvent
  );
  return Tilt?.requestPermission?.bind(Tilt);
}

/** Ask for the tilt; no setting changes. */
function askForTilt() {
  tiltPermission()?.().catch(() => {});
  return {};
}

/**
 * Return the colours of one layer, first row on top.
 *
 * @param {Stage} stage
 * @param {Scene} scene
 * @param {number} which PEOPLE or BEHIND
 * @returns {HTMLCanvasElement}
 */
function layerImage(stage, scene, which) {
  const factor = Math.min(SIDE / Math.max(scene.width, scene.height), 1);
  const [width, height] = [Math.round(scene.width * factor), Math.round(scene.height * factor)];
  const target = stage.target(width, height);
  stage.draw(LAYER, {...scene.view.uniforms, which}, target);
  const canvas = h('canvas', {width, height});
  contextOf(canvas).putImageData(new ImageData(stage.read(target), width, height), 0, 0);
  stage.free(target);
  return canvas;
}
