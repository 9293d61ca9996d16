// The page's side of the worker: load, encode(image), head(name), lift. One call at a time, in order.

export class Net {
  constructor(onProgress = () => {}) {
    this.worker = new Worker(new URL('./worker.js', import.meta.url));
    this.waiting = new Map();
    this.next = 1;
    this.tail = Promise.resolve();
    this.worker.onmessage = ({data}) => {
      if (data.message) onProgress(data.message);
      else this.settle(data);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.fail(event.message || 'the worker could not start');
    };
  }

  settle({call, value, error}) {
    const {resolve, reject} = this.waiting.get(call);
    this.waiting.delete(call);
    if (error === undefined) resolve(value);
    else reject(new Error(error));
  }

  fail(reason) {
    this.waiting.forEach(({reject}) => reject(new Error(reason)));
    this.waiting.clear();
  }

  call(name, args) {
    const run = () =>
      new Promise((resolve, reject) => {
        const call = this.next++;
        this.waiting.set(call, {resolve, reject});
        this.worker.postMessage({call, name, args});
      });
    const result = this.tail.then(run, run);
    this.tail = result.catch(() => {});
    return result;
  }

  // choice: {row, backend, threads} -> {facts, fetched, ms}
  load(choice, slot = 'main') {
    return this.call('load', {slot, ...choice});
  }

  // Features of a photo {data, width, height}; they stay in the worker. -> {ms}
  encode(image, slot = 'main') {
    return this.call('encode', {slot, image});
  }

  // One head on the features of the last `encode`. -> {values: Float32Array, ms}
  head(name, slot = 'main') {
    return this.call('head', {slot, name});
  }

  lift(job) {
    return this.call('lift', job);
  }

  weigh() {
    return this.call('weigh', {});
  }

  close() {
    this.worker.terminate();
    this.fail('another net was loaded');
  }

  drop(slot) {
    return this.call('drop', {slot});
  }
}
