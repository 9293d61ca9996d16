// The page's side of a worker.

/** @import {HostCalls, Link, Progress} from './types.d.ts' */
/** @import {ErrorCode} from './errors.js' */

import {HydraError} from './errors.js';

/** @typedef {{resolve: (value: unknown) => void, reject: (error: Error) => void}} Pending */
/**
 * @typedef {{progress: Progress, call?: undefined} |
 *   {call: number, value?: unknown, error?: {code: ErrorCode, message: string}}} Message
 */

/** @implements {Link} */
export class WorkerLink {
  /**
   * @param {Worker} worker
   * @param {(progress: Progress) => void} progress
   */
  constructor(worker, progress) {
    this.worker = worker;
    /** @type {Map<number, Pending>} by the number of the call */
    this.pending = new Map();
    this.next = 1;
    worker.onmessage = (/** @type {MessageEvent<Message>} */ {data}) => {
      if (data.call === undefined) progress(data.progress);
      else this.settle(data.call, data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const reason = event.message || 'its script could not be loaded';
      this.fail(new HydraError('backend', `the worker failed (${reason}); load({worker: false}) works without one`));
    };
  }

  /**
   * @param {number} call
   * @param {{value?: unknown, error?: {code: ErrorCode, message: string}}} answer
   */
  settle(call, {value, error}) {
    const pending = this.pending.get(call);
    this.pending.delete(call);
    if (error) pending?.reject(new HydraError(error.code, error.message));
    else pending?.resolve(value);
  }

  /** @param {HydraError} error of all calls under way */
  fail(error) {
    for (const {reject} of this.pending.values()) reject(error);
    this.pending.clear();
  }

  /**
   * @template {keyof HostCalls} Name
   * @param {Name} name
   * @param {Parameters<HostCalls[Name]>[0]} args
   * @param {Transferable[]} [transfer]
   * @returns {Promise<ReturnType<HostCalls[Name]>>}
   */
  call(name, args, transfer = []) {
    return new Promise((resolve, reject) => {
      const call = this.next++;
      this.pending.set(call, {resolve: /** @type {(value: unknown) => void} */ (resolve), reject});
      this.worker.postMessage({call, name, args}, transfer);
    });
  }

  /** Stop the worker, with all the memory that it holds. Calls under way are rejected. */
  close() {
    this.worker.terminate();
    this.fail(new HydraError('disposed', 'the net was disposed'));
  }
}
