// ONNX Runtime Web: one .onnx file a module. Backends: wasm, webgpu.

const BUNDLES = {wasm: 'onnxruntime-web/dist/ort.wasm.min.mjs', webgpu: 'onnxruntime-web/dist/ort.webgpu.min.mjs'};

export async function start({npm, backend, threads}) {
  const ort = await import(new URL(BUNDLES[backend], npm).href);
  ort.env.wasm.wasmPaths = new URL('onnxruntime-web/dist/', npm).href;
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? threads : 1;
  ort.env.logLevel = 'error';
  if (backend === 'webgpu' && !(await navigator.gpu?.requestAdapter()))
    throw new Error('the browser has no WebGPU adapter');
  return new Engine(ort, backend);
}

class Engine {
  constructor(ort, backend) {
    this.ort = ort;
    this.facts = {
      'onnxruntime-web': ort.env.versions.web ?? ort.env.versions.common,
      backend,
      threads: ort.env.wasm.numThreads,
    };
  }

  async open({file, files, outputs}) {
    const location = this.facts.backend === 'webgpu' ? 'gpu-buffer' : 'cpu';
    const session = await this.ort.InferenceSession.create(new Uint8Array(files[file]), {
      executionProviders: [this.facts.backend],
      preferredOutputLocation: location,
    });
    return new Model(session, outputs);
  }

  upload({data, shape, dtype}) {
    return new this.ort.Tensor(dtype, data, shape);
  }

  // getData also fetches what is on the GPU.
  download(tensor) {
    return tensor.getData();
  }

  // Waits for queued work. The queue is in order: the smallest result is there when all are.
  async settle(results) {
    if (this.facts.backend === 'wasm') return;
    await Object.values(results)
      .reduce((least, tensor) => (tensor.size < least.size ? tensor : least))
      .getData();
  }

  release(tensor) {
    tensor.dispose();
  }
}

class Model {
  constructor(session, outputs) {
    Object.assign(this, {session, outputs});
  }

  async run(inputs) {
    return {...(await this.session.run(inputs, this.outputs))};
  }

  close() {
    this.session.release();
  }
}
