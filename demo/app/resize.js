// The model's preprocessing, as every artifact.json states it: the whole photo stretched to the model's size, bilinear
// and antialiased when shrinking. Pillow's BILINEAR, with its rounding to bytes between the two passes, so that the
// net sees here what it sees in Python.

const BITS = 22; // of Pillow's fixed-point weights

// For each target position: where its triangle begins, and the weights from there on.
function triangles(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({length: to}, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const last = Math.min(Math.trunc(center + reach + 0.5), from);
    const raw = [];
    for (let position = first; position < last; position++) {
      raw.push(Math.max(1 - Math.abs((position - center + 0.5) / reach), 0));
    }
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    return {first, weights: raw.map((weight) => Math.round((weight / total) * 2 ** BITS))};
  });
}

const toByte = (sum) => Math.min(Math.max(Math.floor((sum + 2 ** (BITS - 1)) / 2 ** BITS), 0), 255);

// {data: RGBA bytes, width, height} -> Uint8Array [height, width, 3]
export function resize({data, width, height}, toWidth, toHeight) {
  const across = triangles(width, toWidth);
  const down = triangles(height, toHeight);
  const narrow = new Uint8Array(height * toWidth * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < toWidth; x++) {
      const {first, weights} = across[x];
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let index = 0; index < weights.length; index++)
          sum += data[(y * width + first + index) * 4 + channel] * weights[index];
        narrow[(y * toWidth + x) * 3 + channel] = toByte(sum);
      }
    }
  }
  const made = new Uint8Array(toHeight * toWidth * 3);
  const row = toWidth * 3;
  for (let y = 0; y < toHeight; y++) {
    const {first, weights} = down[y];
    for (let item = 0; item < row; item++) {
      let sum = 0;
      for (let index = 0; index < weights.length; index++) sum += narrow[(first + index) * row + item] * weights[index];
      made[y * row + item] = toByte(sum);
    }
  }
  return made;
}
