// One artifact in one engine: features computed once a photo, heads run on them as often as asked.

import {fetchVerified} from './store.js';

const VALUES = {float32: Float32Array, int8: Int8Array, uint8: Uint8Array};

// row: an artifact of catalog.json; backend and threads as the engine takes them.
export async function loadModel({row, backend, threads}, onProgress) {
  const names = Object.keys(row.modules);
  const wanted = new Map(); // modules of one file (LiteRT) share its download
  for (const {files} of Object.values(row.modules)) for (const file of files) wanted.set(file.path, file);
  const list = [...wanted.values()].map((file) => ({...file, url: row.base + file.path}));
  const files = await fetchVerified(list, onProgress);
  const engine = await engineOf(row.engine, backend, threads);
  const model = new Model(engine, row);
  for (const name of names) await model.open(name, files);
  return model;
}

// A worker has one engine; two artifacts that are compared share it.
let engine;
async function engineOf(name, backend, threads) {
  engine ??= import(`../engines/${name}.js`).then(({start}) =>
    start({npm: new URL('/npm/', location.href), backend, threads}),
  );
  return engine;
}

class Model {
  constructor(engine, row) {
    Object.assign(this, {engine, row, runners: {}, features: {}, facts: engine.facts});
  }

  async open(name, files) {
    const {file, signature, outputs} = this.row.modules[name];
    this.runners[name] = await this.engine.open({
      file,
      files,
      signature,
      outputs: outputs.map((port) => port.file_name),
    });
  }

  // rgb: Uint8 [H, W, 3] at the model's size. Keeps the features on the device; the former photo's go.
  async encode(rgb) {
    this.forget();
    const {inputs, outputs} = this.row.modules.encoder;
    const image = await this.engine.upload({
      data: toFile(inputs[0], rgb),
      shape: inputs[0].shape,
      dtype: inputs[0].dtype,
    });
    const made = await this.runners.encoder.run({[inputs[0].file_name]: image});
    await this.engine.settle(made);
    this.engine.release(image);
    for (const port of outputs) this.features[port.name] = made[port.file_name];
  }

  // The values of a head's one output, Float32 [H, W], from the features of the last `encode`.
  async head(name) {
    const {inputs, outputs} = this.row.modules[name];
    const features = inputs.map((port) => [port.file_name, this.features[port.name]]);
    const made = await this.runners[name].run(Object.fromEntries(features));
    const [port] = outputs;
    const values = fromFile(port, await this.engine.download(made[port.file_name]));
    Object.values(made).forEach((tensor) => this.engine.release(tensor));
    return values;
  }

  forget() {
    Object.values(this.features).forEach((tensor) => this.engine.release(tensor));
    this.features = {};
  }

  close() {
    this.forget();
    Object.values(this.runners).forEach((runner) => runner.close());
  }
}

// Photo bytes to what the file takes: layout, scale and storage type are the port's.
function toFile(port, rgb) {
  const planes = port.layout === 'NCHW';
  const pixels = rgb.length / 3;
  const made = new VALUES[port.dtype](rgb.length);
  const round = port.dtype === 'float32' ? (value) => value : Math.round;
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = round((rgb[pixel * 3 + channel] / 255) * port.scale + port.zero_point);
      made[planes ? channel * pixels + pixel : pixel * 3 + channel] = value;
    }
  }
  return made;
}

const fromFile = (port, raw) => Float32Array.from(raw, (value) => (value - port.zero_point) / port.scale);
