// Refocus: a depth of field whose focal plane goes where one taps.

import {SHAPE_NAMES} from '../gl/apertures.js';
import {Bokeh} from '../gl/bokeh.js';

const WIDEST = 0.032; // radius of the blur at full aperture, of the photo's diagonal
const ICONS = {disc: '●', hexagon: '⬢', heart: '♥'};
const bokehs = new WeakMap();

export function bokehOf(stage) {
  if (!bokehs.has(stage)) bokehs.set(stage, new Bokeh(stage));
  return bokehs.get(stage);
}

const plane = (depth) => ({focus: [depth, depth], depth});
const onPerson = ({range, middle}) => ({focus: range, depth: middle});

function everyone(scene) {
  const low = Math.min(...scene.people.map(({all}) => all[0]));
  const high = Math.max(...scene.people.map(({all}) => all[1]));
  return {focus: [low, high], depth: (low + high) / 2};
}

export const refocus = {
  id: 'refocus',
  title: 'Refocus',
  hint: 'Tap what should be sharp',

  start(scene) {
    const [person] = scene.people;
    const aim = person ? onPerson(person) : plane(scene.depthOf(0.9));
    return {...aim, aperture: 0.55, shape: 'disc', bloom: 0.5};
  },

  controls: (scene) => [
    {
      kind: 'range',
      key: 'depth',
      label: 'Focal plane',
      low: 'far',
      high: 'near',
      get: ({depth}) => scene.placeOf(depth),
      set: (place) => plane(scene.depthOf(place)),
    },
    {kind: 'range', key: 'aperture', label: 'Aperture', low: 'f/16', high: 'f/1.2'},
    {
      kind: 'actions',
      label: 'Focus',
      items: [
        {label: 'Focus the person', off: !scene.people.length, run: () => onPerson(scene.people[0])},
        {label: 'All people sharp', off: !scene.people.length, run: () => everyone(scene)},
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

  // x, y in [0, 1] of the photo. A person is focused through, not sliced.
  tap: (scene, {x, y}) => plane(scene.at(x, y).depth),

  key(scene, settings, name) {
    const step = {ArrowUp: 0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowLeft: -0.02}[name];
    return step && plane(scene.depthOf(Math.min(Math.max(scene.placeOf(settings.depth) + step, 0), 1)));
  },

  margin: (settings) => settings.aperture * WIDEST,

  render({stage, view, settings, output}) {
    const {focus, aperture, shape, bloom} = settings;
    bokehOf(stage).render(view, {focus, radius: aperture * WIDEST, shape, bloom}, output);
  },
};
