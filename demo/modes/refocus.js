// Refocus: a depth of field whose focal plane goes where the user taps.

/** @import {Person, Scene} from '../app/scene.js' */
/** @import {ShapeName} from '../gl/apertures.js' */
/** @import {Stage} from '../gl/stage.js' */
/** @import {PaintedMode} from './types.d.ts' */

import {SHAPE_NAMES} from '../gl/apertures.js';
import {Bokeh} from '../gl/bokeh.js';

/** @typedef {{focus: [number, number], depth: number}} Aim depths between which all is sharp; the slider's depth */
/** @typedef {Aim & {aperture: number, shape: ShapeName, bloom: number}} RefocusSettings */

export const APERTURE = 0.55; // of a photo with people, at first
const WIDEST = 0.032; // radius of the blur at full aperture, of the photo's diagonal
const KEY_STEP = 0.02; // of the slider
/** @type {Record<ShapeName, string>} */
const ICONS = {disc: '●', hexagon: '⬢', heart: '♥'};
/** @type {Record<string, number>} */
const KEYS = {ArrowUp: KEY_STEP, ArrowRight: KEY_STEP, ArrowDown: -KEY_STEP, ArrowLeft: -KEY_STEP};

/** @type {WeakMap<Stage, Bokeh>} */
const bokehs = new WeakMap();

/**
 * Return the depth-of-field renderer of a stage, made once.
 *
 * @param {Stage} stage
 * @returns {Bokeh}
 */
export function bokehOf(stage) {
  const existing = bokehs.get(stage);
  if (existing) return existing;
  const bokeh = new Bokeh(stage);
  bokehs.set(stage, bokeh);
  return bokeh;
}

/**
 * Focus one depth.
 *
 * @param {number} depth
 * @returns {Aim}
 */
const plane = (depth) => ({focus: [depth, depth], depth});

/**
 * Focus all of a person.
 *
 * @param {Person} person
 * @returns {Aim}
 */
const onPerson = ({range, median}) => ({focus: range, depth: median});

/**
 * Focus all people.
 *
 * @param {Scene} scene
 * @returns {Aim}
 */
function onEveryone({people}) {
  const low = Math.min(...people.map(({extent}) => extent[0]));
  const high = Math.max(...people.map(({extent}) => extent[1]));
  return {focus: [low, high], depth: (low + high) / 2};
}

/** @type {PaintedMode<RefocusSettings>} */
export const refocus = {
  id: 'refocus',
  title: 'Refocus',
  hint: 'Tap what should be sharp',

  start(scene) {
    const [person] = scene.people;
    const aim = person ? onPerson(person) : plane(scene.depthOf(0.9));
    return {...aim, aperture: person ? APERTURE : 0, shape: 'disc', bloom: 0.5};
  },

  controls: (scene) => [
    {
      kind: 'range',
      key: 'depth',
      label: 'Focal plane',
      low: 'far',
      high: 'near',
      get: ({depth}) => scene.sliderOf(depth),
      set: (position) => plane(scene.depthOf(position)),
    },
    {kind: 'range', key: 'aperture', label: 'Aperture', low: 'f/16', high: 'f/1.2'},
    {
      kind: 'actions',
      label: 'Focus',
      items: [
        {label: 'Focus the person', off: !scene.people.length, run: () => onPerson(scene.people[0])},
        {label: 'All people sharp', off: !scene.people.length, run: () => onEveryone(scene)},
      ],
    },
    {
      kind: 'choice',
      key: 'shape',
      label: 'Bokeh',
      items: SHAPE_NAMES.map((name) => ({value: name, label: name, icon: ICONS[name]})),
    },
    {kind: 'range', key: 'bloom', label: 'Highlights', low: 'calm', high: 'bloom'},
  ],

  tap: (scene, {x, y}) => plane(scene.at(x, y).depth),

  key(scene, {depth}, name) {
    const step = KEYS[name];
    if (!step) return null;
    return plane(scene.depthOf(Math.min(Math.max(scene.sliderOf(depth) + step, 0), 1)));
  },

  margin: ({aperture}) => aperture * WIDEST,

  render({stage, view, settings, output}) {
    const {focus, aperture, shape, bloom} = settings;
    bokehOf(stage).render(view, {focus, radius: aperture * WIDEST, shape, bloom}, output);
  },
};
