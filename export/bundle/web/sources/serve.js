// The worker's side of a net: calls come as {call, name, args} and are answered by {call, value} or {call, error}.

/** @import {HostCalls, Start, StepResult} from './types.d.ts' */

import {asHydraError} from './errors.js';
import {Host} from './host.js';

/** @typedef {{call: number, name: keyof HostCalls, args: never}} Request */
/** @typedef {{postMessage: (message: unknown, transfer: Transferable[]) => void, onmessage: unknown}} WorkerScope */

/**
 * Answer the calls of the page.
 *
 * @param {Start} start
 */
export function serve(start) {
  const scope = /** @type {WorkerScope} */ (/** @type {unknown} */ (globalThis));
  const host = new Host({start, progress: (progress) => scope.postMessage({progress}, [])});
  scope.onmessage = async (/** @type {MessageEvent<Request>} */ {data: {call, name, args}}) => {
    try {
      const value = await host.call(name, args);
      scope.postMessage({call, value}, buffersOf(value));
    } catch (error) {
      const {code, message} = asHydraError('run', error);
      scope.postMessage({call, error: {code, message}}, []);
    }
  };
}

/**
 * Return the memory that an answer hands over.
 *
 * @param {ReturnType<HostCalls[keyof HostCalls]>} value
 * @returns {ArrayBuffer[]}
 */
function buffersOf(value) {
  const {results = {}} = /** @type {Partial<StepResult>} */ (Object(value));
  const buffers = Object.values(results).map(({data}) => data.buffer);
  return buffers.filter((buffer) => buffer instanceof ArrayBuffer);
}
