// Compares a net on this device with the golden outputs of its package.

/** @import {FileRow, TensorData} from './types.d.ts' */
/** @import {Net} from './net.js' */

import {HydraError} from './errors.js';
import {callStep, stateOf} from './net.js';
import {ARRAYS} from './tensors.js';

/** @typedef {FileRow & {url: string}} GoldenFile elements as the file has them, little endian */
/** @typedef {{file: GoldenFile, allowed: number}} GoldenOutput mean absolute error, in the file's units */
/** @typedef {{step: string, output: string, error: number, allowed: number}} CheckRow */
/** @typedef {{inputs: Record<string, GoldenFile>, outputs: Record<string, GoldenOutput>}} Golden by name of the port */

/**
 * Run all steps on the golden inputs, each on the features of those before it.
 *
 * @param {Net} net
 * @param {Golden} golden
 * @returns {Promise<CheckRow[]>} one row per output
 * @throws {HydraError} with the code "golden" where an output is off by more than is allowed
 */
export async function check(net, {inputs, outputs}) {
  const {link, contract} = stateOf(net);
  const wanted = [...Object.values(inputs), ...Object.values(outputs).map(({file}) => file)];
  const files = await link.call('files', {files: wanted});
  /** @type {Record<string, number>} */
  const kept = {};
  const rows = [];
  try {
    for (const [name, {inputs: ports, outputs: made}] of Object.entries(contract.steps)) {
      const own = ports.filter((port) => !port.step);
      const given = Object.fromEntries(own.map((port) => [port.name, {raw: files[inputs[port.name].path]}]));
      const reads = ports.filter((port) => port.step).map(({step}) => [step, kept[step]]);
      const answer = await callStep(net, {name, given, features: Object.fromEntries(reads), raw: true});
      kept[name] = answer.kept;
      for (const port of made.filter((one) => one.name in answer.results)) {
        const {file, allowed} = outputs[port.name];
        const expected = new ARRAYS[port.dtype](files[file.path]);
        const error = meanError(/** @type {TensorData} */ (answer.results[port.name].data), expected);
        rows.push({step: name, output: port.name, error, allowed});
      }
    }
  } finally {
    for (const number of Object.values(kept).filter(Boolean)) link.call('free', {kept: number}).catch(() => {});
  }
  judge(rows);
  return rows;
}

/** @param {CheckRow[]} rows */
function judge(rows) {
  if (!rows.length) throw new HydraError('golden', 'nothing was compared');
  // Not `error > allowed`: an error of NaN is one, too.
  const wrong = rows.filter(({error, allowed}) => !(error <= allowed));
  if (!wrong.length) return;
  const words = wrong.map(
    ({step, output, error, allowed}) => `${step}.${output} is off by ${error}, allowed ${allowed}`,
  );
  throw new HydraError('golden', words.join('; '));
}

/**
 * Return the mean absolute difference. Equal infinities differ by 0.
 *
 * @param {TensorData} values
 * @param {TensorData} expected
 */
function meanError(values, expected) {
  if (values.length !== expected.length) return Number.NaN;
  let sum = 0;
  for (let index = 0; index < values.length; index++) {
    if (values[index] !== expected[index]) sum += Math.abs(Number(values[index]) - Number(expected[index]));
  }
  return values.length ? sum / values.length : 0;
}
