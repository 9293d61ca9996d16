// A photo's two layers as geometry. The net's depth is relative: larger is nearer, with no unit. It is read as the
// inverse of a distance, which is what a net of this kind learns, between 1 (nearest) and 1 + `relief` times DEEPEST.

const DEEPEST = 3;
const COLUMNS = 220; // of the grid, on the longer side: about as fine as the net sees
const OVERLAP = 1.3; // of points, so that from the camera hardly a gap is seen
const SHOWN = 0.02; // alpha below which the people's surface ends

// Viridis: even steps look even, in grey too.
export const SCALE_STOPS = [
  [0, '#440154'],
  [0.25, '#3b528b'],
  [0.5, '#21918c'],
  [0.75, '#5ec962'],
  [1, '#fde725'],
];

// place in [0, 1] -> [r, g, b] in [0, 1], sRGB
export function colorScale(place) {
  const at = Math.min(Math.max(place, 0), 1) * (SCALE_STOPS.length - 1);
  const low = Math.min(Math.floor(at), SCALE_STOPS.length - 2);
  const [a, b] = [SCALE_STOPS[low][1], SCALE_STOPS[low + 1][1]].map((hex) =>
    [1, 3, 5].map((from) => parseInt(hex.slice(from, from + 2), 16) / 255),
  );
  return a.map((value, index) => value + (b[index] - value) * (at - low));
}

// -> {group, vertices, nearest, middle (distances), free()}. The camera stands at the origin and looks along -z.
// border: how far the surfaces go on beyond the photo, mirrored, of its sides.
export function build(three, scene, textures, {relief, look, shape, field, border}) {
  const grid = gridOf(scene);
  const distance = distanceOf(scene, relief);
  const layers = [
    {name: 'behind', depth: scene.pixels.behind, canvas: textures.behind, alpha: null},
    {name: 'people', depth: scene.pixels.people, canvas: textures.people, alpha: scene.pixels.alpha},
  ];
  const group = new three.Group();
  const freed = [];
  let vertices = 0;
  for (const layer of layers) {
    const geometry = surface(three, scene, grid, layer, {distance, field, points: shape === 'points', border});
    if (!geometry) continue;
    const {material, texture} = materialOf(three, scene, layer, geometry, {
      look,
      shape,
      gap: gapOf(grid, geometry, distance, border),
    });
    const made = shape === 'points' ? new three.Points(geometry, material) : new three.Mesh(geometry, material);
    made.name = layer.name;
    made.renderOrder = layer.alpha ? 1 : 0;
    group.add(made);
    vertices += geometry.getAttribute('position').count;
    freed.push(geometry, material, ...(texture ? [texture] : []));
  }
  const near = scene.people[0]?.middle ?? scene.depthOf(0.7);
  return {group, vertices, nearest: 1, middle: distance(near), free: () => freed.forEach((thing) => thing.dispose())};
}

function gridOf({width, height}) {
  const factor = Math.min(COLUMNS / Math.max(width, height), 1);
  return {columns: Math.max(Math.round(width * factor), 2), rows: Math.max(Math.round(height * factor), 2)};
}

// The photo's depths, stretched to its own range, to distances from the camera.
function distanceOf({quantiles}, relief) {
  const [low, high] = [quantiles[0], quantiles[quantiles.length - 1]];
  const farthest = 1 + relief * DEEPEST;
  return (depth) => {
    const place = Math.min(Math.max((depth - low) / Math.max(high - low, 1e-6), 0), 1);
    return 1 / (place + (1 - place) / farthest);
  };
}

// A grid whose vertices lie on the rays of the photo's pixels, so that from the origin it looks as the photo does.
function surface(three, scene, {columns, rows}, {depth, alpha}, {distance, field, points, border}) {
  const {width, height} = scene;
  const grown = 1 + 2 * border;
  const tall = Math.tan((field * Math.PI) / 360);
  const wide = (tall * width) / height;
  const number = new Int32Array(columns * rows).fill(-1);
  const place = [];
  const uv = [];
  const depths = [];
  const inPhoto = (index, count) => (index / (count - 1) - 0.5) * grown + 0.5;
  const kept =
    alpha &&
    visible(
      (column, row) => alpha[pixelAt(scene, inPhoto(column, columns), inPhoto(row, rows))],
      {columns, rows},
      points ? 0 : 1,
    );
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const cell = row * columns + column;
      if (kept && !kept[cell]) continue;
      const [u, v] = [inPhoto(column, columns), inPhoto(row, rows)];
      const value = depth[pixelAt(scene, u, v)];
      const z = distance(value);
      number[cell] = depths.length;
      place.push((u * 2 - 1) * wide * z, (1 - v * 2) * tall * z, -z);
      uv.push(u, 1 - v);
      depths.push(value);
    }
  }
  if (!depths.length) return null;
  const geometry = new three.BufferGeometry();
  geometry.setAttribute('position', new three.Float32BufferAttribute(place, 3));
  geometry.userData = {uv, depths};
  if (points) return geometry;
  geometry.setAttribute('uv', new three.Float32BufferAttribute(uv, 2));
  geometry.setIndex(triangles(number, columns, rows));
  return geometry;
}

const within = (value) => Math.min(Math.max(value, 0), 1);
const pixelAt = ({width, height}, u, v) =>
  Math.round(within(v) * (height - 1)) * width + Math.round(within(u) * (width - 1));

// The cells where a layer can be seen, and a rim around them for its soft edge.
function visible(alphaOf, {columns, rows}, rim) {
  const seen = new Uint8Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (alphaOf(column, row) <= (rim ? SHOWN : 0.5)) continue;
      for (let y = Math.max(row - rim, 0); y <= Math.min(row + rim, rows - 1); y++) {
        for (let x = Math.max(column - rim, 0); x <= Math.min(column + rim, columns - 1); x++)
          seen[y * columns + x] = 1;
      }
    }
  }
  return seen;
}

// How far apart a layer's vertices are at its middle distance, as three counts a point's size: for a lens of 90 degrees.
function gapOf({rows}, geometry, distance, border) {
  const sorted = Float32Array.from(geometry.userData.depths).sort();
  return (2 * (1 + 2 * border) * distance(sorted[sorted.length >> 1])) / (rows - 1);
}

function triangles(number, columns, rows) {
  const found = [];
  for (let row = 0; row < rows - 1; row++) {
    for (let column = 0; column < columns - 1; column++) {
      const [a, b] = [number[row * columns + column], number[row * columns + column + 1]];
      const [c, d] = [number[(row + 1) * columns + column], number[(row + 1) * columns + column + 1]];
      if (a >= 0 && b >= 0 && c >= 0) found.push(a, c, b);
      if (b >= 0 && c >= 0 && d >= 0) found.push(b, c, d);
    }
  }
  return found;
}

function materialOf(three, scene, layer, geometry, {look, shape, gap}) {
  if (shape === 'points' || look === 'depth') {
    const colors = look === 'depth' ? depthColors(scene, geometry) : photoColors(layer.canvas, geometry);
    const linear = new three.Color();
    for (let at = 0; at < colors.length; at += 3) {
      linear.setRGB(colors[at], colors[at + 1], colors[at + 2], three.SRGBColorSpace).toArray(colors, at);
    }
    geometry.setAttribute('color', new three.Float32BufferAttribute(colors, 3));
  }
  if (shape === 'points') return {material: new three.PointsMaterial({size: gap * OVERLAP, vertexColors: true})};
  const texture = new three.CanvasTexture(layer.canvas);
  texture.colorSpace = three.SRGBColorSpace;
  texture.wrapS = texture.wrapT = three.MirroredRepeatWrapping;
  if (look === 'depth') {
    // The matte still cuts the people out.
    const cut = layer.alpha ? {alphaMap: matteOf(three, layer.canvas), transparent: true} : {};
    texture.dispose();
    return {
      material: new three.MeshBasicMaterial({vertexColors: true, side: three.DoubleSide, ...cut}),
      texture: cut.alphaMap,
    };
  }
  const material = new three.MeshBasicMaterial({
    map: texture,
    side: three.DoubleSide,
    transparent: Boolean(layer.alpha),
  });
  return {material, texture};
}

// three reads an alpha map's green.
function matteOf(three, canvas) {
  const {width, height} = canvas;
  const image = canvas.getContext('2d').getImageData(0, 0, width, height);
  for (let at = 0; at < image.data.length; at += 4) {
    image.data.fill(image.data[at + 3], at, at + 3);
    image.data[at + 3] = 255;
  }
  const made = Object.assign(document.createElement('canvas'), {width, height});
  made.getContext('2d').putImageData(image, 0, 0);
  const texture = new three.CanvasTexture(made);
  texture.wrapS = texture.wrapT = three.MirroredRepeatWrapping;
  return texture;
}

function depthColors(scene, geometry) {
  const {quantiles} = scene;
  const [low, high] = [quantiles[0], quantiles[quantiles.length - 1]];
  return geometry.userData.depths.flatMap((value) => colorScale((value - low) / Math.max(high - low, 1e-6)));
}

function photoColors(canvas, geometry) {
  const {width, height} = canvas;
  const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
  const {uv} = geometry.userData;
  const found = [];
  for (let at = 0; at < uv.length; at += 2) {
    const pixel = pixelAt({width, height}, uv[at], 1 - uv[at + 1]);
    found.push(data[pixel * 4] / 255, data[pixel * 4 + 1] / 255, data[pixel * 4 + 2] / 255);
  }
  return found;
}
