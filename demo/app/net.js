// The page's side of the worker. One call runs at a time, in the order of the calls.

/** @import {Calls, LiftJob, LoadOptions, Message, Progress, Request, Rgba, Slot} from '../types.d.ts' */

/** @typedef {{resolve: (value: unknown) => void, reject: (error: Error) => void}} Pending */

export class Net {
  /**
   * Start the worker.
   *
   * @param {(progress: Progress) => void} [onProgress] called during downloads
   */
  constructor(onProgress = () => {}) {
    this.worker = new Worker(new URL('./worker.js', import.meta.url));
    /** @type {Map<number, Pending>} by the number of the call */
    this.pending = new Map();
    this.next = 1;
    /** @type {Promise<unknown>} the last call */
    this.tail = Promise.resolve();
    this.worker.onmessage = (/** @type {MessageEvent<Message>} */ {data}) => {
      if (data.call === undefined) onProgress(data.progress);
      else this.settle(data);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.fail(event.message || 'the worker could not start');
    };
  }

  /**
   * Settle the promise of one call.
   *
   * @param {Exclude<Message, {progress: Progress}>} answer
   */
  settle(answer) {
    const pending = this.pending.get(answer.call);
    this.pending.delete(answer.call);
    if (answer.error === undefined) pending?.resolve(answer.value);
    else pending?.reject(new Error(answer.error));
  }

  /**
   * Reject every call under way.
   *
   * @param {string} reason
   */
  fail(reason) {
    for (const {reject} of this.pending.values()) reject(new Error(reason));
    this.pending.clear();
  }

  /**
   * Call a function of the worker, after all earlier calls have settled.
   *
   * @template {keyof Calls} Name
   * @param {Name} name
   * @param {Parameters<Calls[Name]>[0]} args
   * @returns {Promise<ReturnType<Calls[Name]>>}
   */
  call(name, args) {
    const run = () =>
      new Promise((resolve, reject) => {
        const call = this.next++;
        this.pending.set(call, {resolve, reject});
        this.worker.postMessage(/** @satisfies {Request} */ ({call, name, args}));
      });
    const result = this.tail.then(run, run);
    this.tail = result.catch(() => {});
    return result;
  }

  /**
   * Load an artifact into a slot; the slot's former artifact is closed.
   *
   * @param {LoadOptions} options
   * @param {Slot} [slot]
   */
  load(options, slot = 'main') {
    return this.call('load', {slot, ...options});
  }

  /**
   * Compute a photo's features. They stay in the worker.
   *
   * @param {Rgba} image
   * @param {Slot} [slot]
   */
  encode(image, slot = 'main') {
    return this.call('encode', {slot, image});
  }

  /**
   * Run one head on the features of the last `encode`.
   *
   * @param {string} name
   * @param {Slot} [slot]
   */
  head(name, slot = 'main') {
    return this.call('head', {slot, name});
  }

  /**
   * Split a photo into layers; see lift.js.
   *
   * @param {LiftJob} job
   */
  lift(job) {
    return this.call('lift', job);
  }

  /** Return the size of the runtime's files over the network, in bytes. */
  runtimeBytes() {
    return this.call('runtimeBytes', {});
  }

  /**
   * Close a slot's artifact.
   *
   * @param {Slot} slot
   */
  drop(slot) {
    return this.call('drop', {slot});
  }

  /** Stop the worker. Calls under way are rejected. */
  close() {
    this.worker.terminate();
    this.fail('another net was loaded');
  }
}
