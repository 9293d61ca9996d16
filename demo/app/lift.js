// From the net's two small maps to what rendering takes: two layers, the people and what is behind them.
//
// Each layer has a depth of its own that goes on beneath the matte's edge, so that a person's outline never blurs by
// the background's depth or the other way round; the matte alone says where one ends. Depth and matte come as guided
// filter coefficients (guided.js), which the renderer applies to the photo at any size. The colours of the layers
// under the edge are `front` and `back`: the people without the background's light in their hair, and the background
// filled in behind them.

import {fill, scale, smoothstep, widen} from './fields.js';
import {Guide} from './guided.js';

// In pixels of the guide, whose longer side is GUIDE (photo.js): how near an edge must be to be followed.
const RADIUS = 5;
// Variance of colour that counts as an edge: little for the matte; a depth, which changes slowly inside a person,
// must not take over every fold of a shirt.
const MATTE = 3e-4;
const DEPTH = 1e-2;
// In pixels of the net: how far its depth is blurred across the matte's edge, on each side.
const BLEED_OUT = 6;
const BLEED_IN = 2;

// guide: {data: RGBA bytes, width, height}; alpha, depth: Float32Array of net.width x net.height.
// -> {width, height, matte, near, far: Float32Array [h, w, 4]; front, back: Uint8Array [h, w, 4]}
export function lift({guide, alpha, depth, net}) {
  const {width, height} = guide;
  const layers = layerDepths(alpha, depth, net);
  const up = (values) => scale(values, net.width, net.height, width, height);
  const colors = [0, 1, 2].map((channel) => {
    const made = new Float32Array(width * height);
    for (let index = 0; index < made.length; index++) made[index] = guide.data[index * 4 + channel] / 255;
    return made;
  });
  const edges = new Guide(colors, width, height, RADIUS);
  const coarse = up(alpha);
  return {
    width,
    height,
    matte: edges.fit(coarse, MATTE),
    near: edges.fit(up(layers.near), DEPTH),
    far: edges.fit(up(layers.far), DEPTH),
    ...layerColors(colors, coarse, width, height),
  };
}

function layerDepths(alpha, depth, {width, height}) {
  const outer = widen(alpha, width, height, BLEED_OUT);
  const inner = widen(
    alpha.map((value) => 1 - value),
    width,
    height,
    BLEED_IN,
  );
  const person = inner.map((value) => smoothstep(0.5, 0.1, value));
  const behind = outer.map((value) => smoothstep(0.5, 0.1, value));
  // Without a person, or without a background, the other layer's depth serves both.
  const known = (weight) => (weight.some((value) => value > 0.5) ? weight : new Float32Array(weight.length).fill(1));
  const [near] = fill([depth], known(person), width, height);
  const [far] = fill([depth], known(behind), width, height);
  return {near, far};
}

function layerColors(colors, alpha, width, height) {
  // A little inside and outside of the matte: the mixed pixels of the edge itself belong to neither.
  const inner = widen(
    alpha.map((value) => 1 - value),
    width,
    height,
    1,
  ).map((value) => smoothstep(0.25, 0.02, value));
  const outer = widen(alpha, width, height, 2).map((value) => smoothstep(0.25, 0.02, value));
  const pack = (channels) => {
    const made = new Uint8Array(width * height * 4).fill(255);
    channels.forEach((values, channel) =>
      values.forEach((value, index) => (made[index * 4 + channel] = Math.round(value * 255))),
    );
    return made;
  };
  const floor = (weight) => weight.map((value) => Math.max(value, 1e-4)); // a photo without people has colours too
  return {
    front: pack(fill(colors, floor(inner), width, height)),
    back: pack(fill(colors, floor(outer), width, height)),
  };
}
