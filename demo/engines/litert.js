// LiteRT.js: the .tflite file of Android, one signature an entry. Backends: wasm, webgpu.

export async function start({npm, backend, threads}) {
  const litert = await import(new URL('@litertjs/core/dist/index.js', npm).href);
  const threaded = threads > 1 && Boolean(globalThis.crossOriginIsolated);
  if (backend === 'webgpu' && !(await navigator.gpu?.requestAdapter()))
    throw new Error('the browser has no WebGPU adapter');
  // What waits for a GPU inside WebAssembly needs the build with JSPI, which has no threads.
  // In a worker the loader cannot tell where its script came from, and would look beside the worker's.
  const locateFile = (name) => new URL(`@litertjs/core/wasm/${name}`, npm).href;
  if (typeof importScripts === 'function') globalThis.Module = {locateFile};
  const build = backend === 'webgpu' ? {jspi: true} : {threads: threaded};
  await litert.loadLiteRt(new URL('@litertjs/core/wasm/', npm).href, build);
  return new Engine(litert, backend, build.threads ? threads : 1);
}

class Engine {
  constructor(litert, backend, threads) {
    this.litert = litert;
    this.models = new Map();
    this.facts = {backend, threads};
  }

  // Signatures of one file share its compiled model, and so its weights. `key` tells files of one name apart.
  async open({file, key = file, files, signature}) {
    if (!this.models.has(key)) this.models.set(key, {users: 0, coming: this.compile(files[file])});
    const shared = this.models.get(key);
    shared.users += 1;
    try {
      shared.made = await shared.coming;
      const runner = shared.made.signatures[signature];
      if (!runner) throw new Error(`${file} has no signature ${signature}`);
      return new Model(this, key, runner);
    } catch (error) {
      this.leave(key);
      throw error;
    }
  }

  compile(file) {
    return this.litert.loadAndCompile(new Uint8Array(file), {
      accelerator: this.facts.backend,
      cpuOptions: {numThreads: this.facts.threads},
      gpuOptions: {precision: 'fp32'},
    });
  }

  async upload({data, shape}) {
    const tensor = new this.litert.Tensor(data, shape);
    return this.facts.backend === 'webgpu' ? tensor.moveTo('webgpu') : tensor;
  }

  download(tensor) {
    return tensor.data();
  }

  // Waits for queued work. The queue is in order: the smallest result is there when all are.
  async settle(results) {
    if (this.facts.backend === 'wasm') return;
    const count = (tensor) => tensor.type.layout.dimensions.reduce((product, size) => product * size, 1);
    await Object.values(results)
      .reduce((least, tensor) => (count(tensor) < count(least) ? tensor : least))
      .data();
  }

  release(tensor) {
    tensor.delete();
  }

  leave(key) {
    const shared = this.models.get(key);
    shared.users -= 1;
    if (!shared.users) {
      shared.made?.delete();
      this.models.delete(key);
    }
  }
}

class Model {
  constructor(engine, key, runner) {
    Object.assign(this, {engine, key, runner});
  }

  async run(inputs) {
    return {...(await this.runner.run(inputs))};
  }

  close() {
    this.engine.leave(this.key);
  }
}
