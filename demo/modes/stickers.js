// Stickers and words that may be placed in a photo, as drawings of any size.

/**
 * A drawing: `ratio` is width over height, `paint` fills a canvas of that shape.
 *
 * @typedef {object} Drawing
 * @property {number} ratio
 * @property {(context: CanvasRenderingContext2D, width: number, height: number) => void} paint
 */

import {contextOf} from '../app/photo.js';

const EM = 100; // pixels of FONT
const FONT = `800 ${EM}px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;
const LINE = 1.08; // height of a line, in ems
const PAD = 0.12; // around letters, in ems: strokes and accents reach beyond their measure
const NARROWEST = 0.4; // an empty text is as wide as a letter, in ems
const EDGE = '#00000055';

/** @type {Record<string, string>} SVG paths in a square of 100 */
export const STICKERS = {
  star: 'M50 4l13.5 29 31.5 4-23 22 6 31.5L50 75 22 90.500l6-31.500-23-22 31.500-4z',
  heart: 'M50 90C20 66 6 50 6 32 6 17 17 8 29 8c9 0 17 5 21 13C54 13 62 8 71 8c12 0 23 9 23 24 0 18-14 34-44 58z',
  sun: sunPath(),
  bubble: 'M14 10h72a10 10 0 0 1 10 10v40a10 10 0 0 1-10 10H46L24 92V70H14A10 10 0 0 1 4 60V20a10 10 0 0 1 10-10z',
  arrow: 'M50 94L16 56h20V6h28v50h20z',
};

/** Return a star of twelve rays. */
function sunPath() {
  const points = Array.from({length: 24}, (_, index) => {
    const radius = index % 2 ? 32 : 48;
    const angle = (index / 24) * 2 * Math.PI;
    return `${(50 + radius * Math.cos(angle)).toFixed(2)} ${(50 + radius * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${points.join('L')}z`;
}

/**
 * Return the drawing of a sticker.
 *
 * @param {string} name of STICKERS
 * @param {string} color
 * @returns {Drawing}
 */
export function drawSticker(name, color) {
  return {
    ratio: 1,
    paint(context, width) {
      const path = new Path2D(STICKERS[name]);
      context.scale(width / 100, width / 100);
      context.lineJoin = 'round';
      context.lineWidth = 3;
      context.strokeStyle = EDGE;
      context.stroke(path);
      context.fillStyle = color;
      context.fill(path);
    },
  };
}

/**
 * Return the drawing of words, line below line, centred.
 *
 * @param {string} text
 * @param {string} color
 * @returns {Drawing}
 */
export function drawWords(text, color) {
  const lines = (text || ' ').split('\n');
  const measure = contextOf(document.createElement('canvas'));
  measure.font = FONT;
  const widths = lines.map((line) => measure.measureText(line).width / EM);
  const width = Math.max(...widths, NARROWEST) + 2 * PAD; // in ems
  const height = lines.length * LINE + 2 * PAD;
  return {
    ratio: width / height,
    paint(context, pixels) {
      const scale = pixels / width / EM;
      context.scale(scale, scale);
      context.font = FONT;
      context.textAlign = 'center';
      context.textBaseline = 'middle';
      context.fillStyle = color;
      lines.forEach((line, index) => {
        context.fillText(line, (width / 2) * EM, (PAD + (index + 0.5) * LINE) * EM);
      });
    },
  };
}
