// TF.js: graph models (model.json and its shards). Backends: wasm, webgl, webgpu.

const SCRIPTS = {
  wasm: '@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js',
  webgl: '@tensorflow/tfjs-backend-webgl/dist/tf-backend-webgl.min.js',
  webgpu: '@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js',
};

// A bundle that puts itself on globalThis: importing it runs it once.
const load = (npm, path) => import(new URL(path, npm).href);

export async function start({npm, backend, threads}) {
  await load(npm, '@tensorflow/tfjs-core/dist/tf-core.min.js');
  await load(npm, '@tensorflow/tfjs-converter/dist/tf-converter.min.js');
  await load(npm, SCRIPTS[backend]);
  const {tf} = globalThis;
  if (backend === 'wasm') {
    tf.wasm.setWasmPaths(new URL('@tensorflow/tfjs-backend-wasm/dist/', npm).href);
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', threads > 1 && globalThis.crossOriginIsolated);
    if (threads > 1) tf.wasm.setThreadsCount(threads);
  }
  if (!(await tf.setBackend(backend))) throw new Error(`the ${backend} backend of TF.js did not start`);
  await tf.ready();
  return new Engine(tf, backend);
}

class Engine {
  constructor(tf, backend) {
    this.tf = tf;
    const wasm = backend === 'wasm';
    this.facts = {
      tfjs: tf.version_core,
      backend,
      simd: wasm && Boolean(tf.env().get('WASM_HAS_SIMD_SUPPORT')),
      threads: wasm && tf.env().get('WASM_HAS_MULTITHREAD_SUPPORT') ? tf.wasm.getThreadsCount() : 1,
    };
  }

  // files: {path: ArrayBuffer} with the model.json that `file` names and every shard it lists.
  async open({file, files, outputs}) {
    const folder = file.slice(0, file.lastIndexOf('/') + 1);
    const {modelTopology, weightsManifest, ...rest} = JSON.parse(new TextDecoder().decode(files[file]));
    const shards = weightsManifest.flatMap((group) => group.paths).map((path) => files[folder + path]);
    const weightData = await new Blob(shards).arrayBuffer();
    const weightSpecs = weightsManifest.flatMap((group) => group.weights);
    const handler = {load: async () => ({modelTopology, weightSpecs, weightData, ...rest})};
    return new Model(this.tf, await this.tf.loadGraphModel(handler), outputs);
  }

  upload({data, shape, dtype}) {
    return this.tf.tensor(data, shape, dtype);
  }

  download(tensor) {
    return tensor.data();
  }

  // Waits for queued work. The queue is in order: the smallest result is there when all are.
  async settle(results) {
    if (this.facts.backend === 'wasm') return;
    await Object.values(results)
      .reduce((least, tensor) => (tensor.size < least.size ? tensor : least))
      .data();
  }

  release(tensor) {
    tensor.dispose();
  }
}

class Model {
  constructor(tf, graph, outputs) {
    Object.assign(this, {tf, graph, outputs});
  }

  // inputs and outputs: {name: tensor}, which stay on the device.
  async run(inputs) {
    const made = [this.graph.execute(inputs, this.outputs)].flat();
    const ours = new Set(Object.values(inputs).map((tensor) => tensor.id));
    return Object.fromEntries(
      made.map((tensor, index) => [this.outputs[index], ours.has(tensor.id) ? this.tf.clone(tensor) : tensor]),
    );
  }

  close() {
    this.graph.dispose();
  }
}
