// How much of the photo lies at which depth, with a threshold to drag and the passage around it shaded.

import {h} from './dom.js';

const BINS = 96;
const HEIGHT = 56;

export function histogram({key, label, values, spread}, settings, change) {
  const id = `control-${key}`;
  const counts = count(values);
  const canvas = h('canvas', {width: BINS * 4, height: HEIGHT * 2, 'aria-hidden': 'true'});
  const input = h('input', {
    id,
    type: 'range',
    min: 0,
    max: counts.most,
    step: 0.002,
    'data-key': key,
    oninput: () => change({[key]: input.valueAsNumber}, {glide: false}),
  });
  const update = (current) => {
    input.value = current[key];
    input.setAttribute('aria-valuetext', `${Math.round((current[key] / counts.most) * 100)} % from far to near`);
    draw(canvas, counts, current[key], current[spread]);
  };
  const element = h(
    'div',
    {class: 'control histogram'},
    h('label', {for: id}, label),
    h('div', {class: 'plot'}, canvas, input),
  );
  return {element, update};
}

function count(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, value);
  most = Math.min(most * 1.05 + 1e-3, 1);
  const bins = new Float32Array(BINS);
  for (const value of values) bins[Math.min(Math.floor((value / most) * BINS), BINS - 1)] += 1;
  const highest = Math.sqrt(bins.reduce((left, right) => Math.max(left, right)));
  return {most, bins: bins.map((bin) => Math.sqrt(bin) / highest)}; // roots: the small heaps are people too
}

function draw(canvas, {most, bins}, threshold, softness) {
  const context = canvas.getContext('2d');
  const style = getComputedStyle(canvas);
  const {width, height} = canvas;
  const place = (depth) => (depth / most) * width;
  context.clearRect(0, 0, width, height);
  bins.forEach((bin, index) => {
    const depth = ((index + 0.5) / bins.length) * most;
    context.fillStyle = style.getPropertyValue(depth > threshold ? '--accent' : '--quiet');
    context.fillRect(index * 4, height * (1 - bin), 3, height * bin);
  });
  context.fillStyle = style.getPropertyValue('--veil');
  context.fillRect(place(threshold - softness), 0, place(2 * softness), height);
  context.fillStyle = style.getPropertyValue('--ink');
  context.fillRect(place(threshold) - 1, 0, 3, height);
}
