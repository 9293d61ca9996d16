// Where a bokeh shape is sampled: points of a golden-angle spiral that lie inside, the shape's own area beside them.

const GOLDEN = Math.PI * (3 - Math.sqrt(5));

const SHAPES = {
  disc: (x, y) => x * x + y * y <= 1,
  hexagon: (x, y) => Math.max(Math.abs(y), Math.abs(x) * 0.866 + Math.abs(y) * 0.5) <= 0.866,
  // The classic heart curve, scaled to fit the unit circle; its tip points down, as y does.
  heart: (x, y) => {
    const u = x * 1.25;
    const v = -y * 1.25 + 0.15;
    return (u * u + v * v - 1) ** 3 - u * u * v ** 3 <= 0;
  },
};

export const SHAPE_NAMES = Object.keys(SHAPES);

function spiral(count, inside) {
  const points = [];
  for (let index = 0; index < count; index++) {
    const radius = Math.sqrt((index + 0.5) / count);
    const point = [radius * Math.cos(index * GOLDEN), radius * Math.sin(index * GOLDEN)];
    if (inside(...point)) points.push(point);
  }
  return points;
}

// -> {points: Float32Array of x, y; area}: `count` points at most `radius` 1 away, turned around: what a pixel gathers
// from there, a bright point spreads the other way.
export function aperture(name, count) {
  let dense = count;
  let points = spiral(dense, SHAPES[name]);
  while (points.length < count) points = spiral(++dense, SHAPES[name]);
  points.length = count;
  return {points: Float32Array.from(points.flatMap(([x, y]) => [-x, -y])), area: (Math.PI * count) / dense};
}
