// What a mode is handed: one photo with its maps, at preview size on the graphics card and in numbers.

import {Lifted, View} from '../gl/view.js';

export class Scene {
  // photo: of photo.js; net: {width, height, alpha, depth} as the net made them; lifted: of lift.js
  constructor(stage, photo, net, lifted) {
    Object.assign(this, {stage, photo, net});
    this.lifted = new Lifted(stage, lifted);
    this.view = new View(stage, this.lifted, photo.preview);
    this.width = photo.preview.width;
    this.height = photo.preview.height;
    this.people = findPeople(net);
    this.quantiles = quantiles(this.pixels.depth);
  }

  // {alpha, depth, people, behind}: Float32Array at preview size, first row on top; read from the graphics card once.
  get pixels() {
    if (!this.read) {
      const values = this.stage.read(this.view.maps, {float: true});
      const pick = (channel) => {
        const made = new Float32Array(this.width * this.height);
        for (let index = 0; index < made.length; index++) made[index] = values[index * 4 + channel];
        return made;
      };
      this.read = {alpha: pick(0), depth: pick(3), people: pick(1), behind: pick(2)};
    }
    return this.read;
  }

  // x, y in [0, 1] of the photo. The depth of what is seen there: the person's or what is behind, never between.
  at(x, y) {
    const column = Math.min(Math.floor(x * this.width), this.width - 1);
    const row = Math.min(Math.floor(y * this.height), this.height - 1);
    const index = Math.max(row, 0) * this.width + Math.max(column, 0);
    const {alpha, people, behind} = this.pixels;
    return {alpha: alpha[index], depth: alpha[index] > 0.5 ? people[index] : behind[index]};
  }

  // A slider's place in [0, 1], far to near, and the depth it stands for. Half of the way goes by rank: the depths of
  // a photo lie close together in its people, where the hand wants to be precise.
  depthOf(place) {
    return search((depth) => this.placeOf(depth), place, this.quantiles[0], this.quantiles.at(-1));
  }

  placeOf(depth) {
    const {quantiles: table} = this;
    const last = table.length - 1;
    const linear = (depth - table[0]) / Math.max(table[last] - table[0], 1e-6);
    let low = 0;
    while (low < last && table[low + 1] < depth) low++;
    const inside = (depth - table[low]) / Math.max((table[low + 1] ?? table[low]) - table[low], 1e-6);
    const rank = (low + Math.min(Math.max(inside, 0), 1)) / last;
    return Math.min(Math.max(0.5 * linear + 0.5 * rank, 0), 1);
  }

  free() {
    this.view.free();
    this.lifted.free();
  }
}

function search(rising, wanted, low, high) {
  for (let step = 0; step < 24; step++) {
    const middle = (low + high) / 2;
    if (rising(middle) < wanted) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

// 65 depths, from the 1st to the 99th percentile, of every 16th pixel.
function quantiles(values) {
  const sorted = values.filter((_, index) => index % 16 === 0).sort();
  return Array.from({length: 65}, (_, step) => sorted[Math.round((0.01 + (0.98 * step) / 64) * (sorted.length - 1))]);
}

// The people of a photo, largest first: [{size, range: [low, high], middle}], depths without their outermost tenth.
// What is left of them below a hundredth of the picture is no person.
function findPeople({alpha, depth, width, height}) {
  const seen = new Uint8Array(alpha.length);
  const found = [];
  for (let start = 0; start < alpha.length; start++) {
    if (seen[start] || alpha[start] <= 0.5) continue;
    const queue = [start];
    seen[start] = 1;
    for (let next = 0; next < queue.length; next++) {
      const at = queue[next];
      const x = at % width;
      const near = [
        x > 0 && at - 1,
        x < width - 1 && at + 1,
        at >= width && at - width,
        at < width * (height - 1) && at + width,
      ];
      for (const index of near) {
        if (index === false || seen[index] || alpha[index] <= 0.5) continue;
        seen[index] = 1;
        queue.push(index);
      }
    }
    if (queue.length < alpha.length / 100) continue;
    const sorted = Float32Array.from(queue, (index) => depth[index]).sort();
    const part = (share) => sorted[Math.round(share * (sorted.length - 1))];
    found.push({size: queue.length, range: [part(0.1), part(0.9)], middle: part(0.5), all: [part(0.01), part(0.99)]});
  }
  return found.sort((a, b) => b.size - a.size);
}
