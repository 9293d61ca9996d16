// How much of the photo lies at which depth, with a threshold to drag and the transition around it shaded.

/** @import {BuiltControl, Change, HistogramControl, Settings} from '../modes/types.d.ts' */

import {contextOf} from '../app/photo.js';
import {h} from './dom.js';

const BINS = 96;
const HEIGHT = 56; // CSS pixels
const BAR = 4; // canvas pixels per bin, of which one is a gap

/** @typedef {{most: number, bins: Float32Array}} Counts `most` is the depth at the right edge; bins are in [0, 1] */

/**
 * Build the control of a threshold.
 *
 * @param {HistogramControl} description
 * @param {Change} change applies new settings
 * @returns {BuiltControl}
 */
export function buildHistogram({key, label, values, spread}, change) {
  const id = `control-${key}`;
  const counts = countDepths(values);
  const canvas = h('canvas', {width: BINS * BAR, height: HEIGHT * 2, 'aria-hidden': 'true'});
  const input = h('input', {
    id,
    type: 'range',
    min: 0,
    max: counts.most,
    step: 0.002,
    'data-key': key,
    oninput: () => {
      change({[key]: input.valueAsNumber}, {glide: false});
    },
  });
  let [threshold, softness] = [0, 0];
  // The colours are the page's, so there are none before the canvas is in the page.
  const redraw = () => {
    if (canvas.isConnected) draw(canvas, counts, threshold, softness);
  };
  followColours(canvas, redraw);
  /** @param {Settings} current */
  const update = (current) => {
    threshold = Number(current[key]);
    softness = Number(current[spread]);
    input.value = String(threshold);
    input.setAttribute('aria-valuetext', `${Math.round((threshold / counts.most) * 100)} % from far to near`);
    redraw();
  };
  const plot = h('div', {class: 'plot'}, canvas, input);
  return {element: h('div', {class: 'control histogram'}, h('label', {for: id}, label), plot), update};
}

/**
 * Draw when the canvas enters the page and whenever the page goes from dark to light or back.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {() => void} redraw
 */
function followColours(canvas, redraw) {
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  const observer = new ResizeObserver(() => {
    if (canvas.isConnected) return redraw();
    observer.disconnect();
    scheme.removeEventListener('change', redraw);
  });
  observer.observe(canvas);
  scheme.addEventListener('change', redraw);
}

/**
 * Count depths. Bins are square roots of the counts, relative to the highest: small groups of pixels are people too.
 *
 * @param {Float32Array} values
 * @returns {Counts}
 */
function countDepths(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, value);
  most = Math.min(most * 1.05 + 1e-3, 1);
  const bins = new Float32Array(BINS);
  for (const value of values) bins[Math.min(Math.floor((value / most) * BINS), BINS - 1)] += 1;
  const highest = Math.sqrt(bins.reduce((left, right) => Math.max(left, right)));
  return {most, bins: bins.map((bin) => Math.sqrt(bin) / highest)};
}

/**
 * Draw the histogram.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Counts} counts
 * @param {number} threshold
 * @param {number} softness half the width of the transition, in depth
 */
function draw(canvas, {most, bins}, threshold, softness) {
  const context = contextOf(canvas);
  const style = getComputedStyle(canvas);
  const {width, height} = canvas;
  /** @param {number} depth */
  const position = (depth) => (depth / most) * width;
  context.clearRect(0, 0, width, height);
  bins.forEach((bin, index) => {
    const depth = ((index + 0.5) / bins.length) * most;
    context.fillStyle = style.getPropertyValue(depth > threshold ? '--accent' : '--quiet');
    context.fillRect(index * BAR, height * (1 - bin), BAR - 1, height * bin);
  });
  context.fillStyle = style.getPropertyValue('--veil');
  context.fillRect(position(threshold - softness), 0, position(2 * softness), height);
  context.fillStyle = style.getPropertyValue('--ink');
  context.fillRect(position(threshold) - 1, 0, BAR - 1, height);
}
