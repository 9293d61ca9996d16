// Operations on one-channel images (Float32Array, width, height) that lifting is made of.

// Bilinear, edges repeated, pixel centres aligned.
export function scale(source, width, height, toWidth, toHeight) {
  const made = new Float32Array(toWidth * toHeight);
  const place = (index, from, to) => {
    const at = Math.min(Math.max(((index + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  const columns = Array.from({length: toWidth}, (_, x) => place(x, width, toWidth));
  for (let y = 0; y < toHeight; y++) {
    const [top, bottom, down] = place(y, height, toHeight);
    for (let x = 0; x < toWidth; x++) {
      const [left, right, across] = columns[x];
      const above = source[top * width + left] * (1 - across) + source[top * width + right] * across;
      const below = source[bottom * width + left] * (1 - across) + source[bottom * width + right] * across;
      made[y * toWidth + x] = above * (1 - down) + below * down;
    }
  }
  return made;
}

// Mean over the window of `radius` around each pixel; at the border, over the part that lies inside.
export function mean(source, width, height, radius) {
  const rows = new Float32Array(source.length);
  for (let y = 0; y < height; y++) slide(source, rows, y * width, 1, width, radius);
  const made = new Float32Array(source.length);
  for (let x = 0; x < width; x++) slide(rows, made, x, width, height, radius);
  return made;
}

function slide(source, target, start, step, count, radius) {
  let sum = 0;
  let size = 0;
  for (let index = 0; index < Math.min(radius, count); index++) {
    sum += source[start + index * step];
    size++;
  }
  for (let index = 0; index < count; index++) {
    if (index + radius < count) {
      sum += source[start + (index + radius) * step];
      size++;
    }
    if (index - radius > 0) {
      sum -= source[start + (index - radius - 1) * step];
      size--;
    }
    target[start + index * step] = sum / size;
  }
}

// The largest value within `radius` (a square window).
export function widen(source, width, height, radius) {
  const rows = new Float32Array(source.length);
  const made = new Float32Array(source.length);
  const reach = (from, to, start, step, count) => {
    for (let index = 0; index < count; index++) {
      let most = -Infinity;
      const last = Math.min(index + radius, count - 1);
      for (let near = Math.max(index - radius, 0); near <= last; near++)
        most = Math.max(most, from[start + near * step]);
      to[start + index * step] = most;
    }
  };
  for (let y = 0; y < height; y++) reach(source, rows, y * width, 1, width);
  for (let x = 0; x < width; x++) reach(rows, made, x, width, height);
  return made;
}

// Fills each channel where `weight` (0 to 1) is small, smoothly from where it is not: a pyramid of weighted means,
// read from coarse to fine. Where the weight is 1, the value stays. All of it unknown: zeros.
export function fill(channels, weight, width, height) {
  const levels = [{channels, weight, width, height}];
  for (let level = levels[0]; level.width > 1 || level.height > 1; level = levels.at(-1)) levels.push(halve(level));
  let coarse = levels.at(-1);
  for (const level of levels.reverse().slice(1)) {
    const spread = coarse.channels.map((values) =>
      scale(values, coarse.width, coarse.height, level.width, level.height),
    );
    const filled = level.channels.map((values, channel) => {
      const made = spread[channel];
      for (let index = 0; index < made.length; index++)
        made[index] += (values[index] - made[index]) * level.weight[index];
      return made;
    });
    coarse = {...level, channels: filled};
  }
  return coarse.channels;
}

function halve({channels, weight, width, height}) {
  const toWidth = Math.ceil(width / 2);
  const toHeight = Math.ceil(height / 2);
  const sum = (values) => {
    const made = new Float32Array(toWidth * toHeight);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++)
        made[(y >> 1) * toWidth + (x >> 1)] += values
          ? values[y * width + x] * weight[y * width + x]
          : weight[y * width + x];
    }
    return made;
  };
  const total = sum(null);
  const made = channels.map((values) => {
    const means = sum(values);
    for (let index = 0; index < means.length; index++) means[index] = total[index] ? means[index] / total[index] : 0;
    return means;
  });
  return {channels: made, weight: total.map((value) => Math.min(value, 1)), width: toWidth, height: toHeight};
}

export function smoothstep(low, high, value) {
  const t = Math.min(Math.max((value - low) / (high - low), 0), 1);
  return t * t * (3 - 2 * t);
}
