// Where a bokeh shape is sampled: points of a golden-angle spiral that lie inside the shape.

const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));

/** @typedef {(x: number, y: number) => boolean} Inside whether a point of the unit disc belongs to a shape */
/** @typedef {keyof typeof SHAPES} ShapeName */

const SHAPES = {
  /** @type {Inside} */
  disc: (x, y) => x * x + y * y <= 1,
  /** @type {Inside} */
  hexagon: (x, y) => Math.max(Math.abs(y), Math.abs(x) * 0.866 + Math.abs(y) * 0.5) <= 0.866,
  // The classic heart curve, scaled to fit the unit circle; its tip points down, as y does.
  /** @type {Inside} */
  heart: (x, y) => {
    const u = x * 1.25;
    const v = -y * 1.25 + 0.15;
    return (u * u + v * v - 1) ** 3 - u * u * v ** 3 <= 0;
  },
};

export const SHAPE_NAMES = /** @type {ShapeName[]} */ (Object.keys(SHAPES));

/**
 * Return the points inside a shape, of `count` spiral points in the unit disc.
 *
 * @param {number} count
 * @param {Inside} inside
 * @returns {[number, number][]}
 */
function spiral(count, inside) {
  /** @type {[number, number][]} */
  const points = [];
  for (let index = 0; index < count; index++) {
    const radius = Math.sqrt((index + 0.5) / count);
    const x = radius * Math.cos(index * GOLDEN_ANGLE);
    const y = radius * Math.sin(index * GOLDEN_ANGLE);
    if (inside(x, y)) points.push([x, y]);
  }
  return points;
}

/**
 * Return `count` points of a shape of radius 1, and its area. The points are mirrored at the origin: a pixel
 * gathers along these points, while a bright point spreads in the opposite direction.
 *
 * @param {ShapeName} name
 * @param {number} count
 * @returns {{points: Float32Array, area: number}} points as x, y, x, y, ...
 */
export function aperture(name, count) {
  let total = count;
  let points = spiral(total, SHAPES[name]);
  while (points.length < count) points = spiral(++total, SHAPES[name]);
  points.length = count;
  return {points: Float32Array.from(points.flatMap(([x, y]) => [-x, -y])), area: (Math.PI * count) / total};
}
