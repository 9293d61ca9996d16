/**
 * The reason of a failure, for an app to act on:
 *
 * - `aborted`: the signal of `load` was aborted
 * - `unreachable`, `missing`, `corrupt`: a model file could not be fetched, is not there, or does not match its sha256
 * - `insecure`: the page is no secure context, so hashes cannot be computed
 * - `backend`: the engine or its backend does not start here
 * - `model`: the engine refuses the model file
 * - `photo`: a photo cannot be read, or has more than 100 megapixels
 * - `input`: a tensor has a wrong length or element
 * - `features`: the features are freed, or belong to another net or step
 * - `run`: the engine failed while it ran
 * - `disposed`: the net was disposed
 * - `golden`: this device does not compute what the reference computes
 *
 * @typedef {'aborted' | 'unreachable' | 'missing' | 'corrupt' | 'insecure' | 'backend' | 'model' | 'photo' | 'input' |
 *   'features' | 'run' | 'disposed' | 'golden'} ErrorCode
 */

/** A failure of the runtime, with its reason in `code`. */
export class HydraError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = 'HydraError';
    this.code = code;
  }
}

/**
 * Return the message of a thrown value. Libraries do not always throw an Error.
 *
 * @param {unknown} thrown
 * @returns {string}
 */
export function messageOf(thrown) {
  const {message} = /** @type {{message?: string}} */ (Object(thrown));
  return message ?? String(thrown);
}

/**
 * Return `thrown` as a HydraError: itself where it is one, else one with this code and its message.
 *
 * @param {ErrorCode} code
 * @param {unknown} thrown
 * @returns {HydraError}
 */
export function asHydraError(code, thrown) {
  return thrown instanceof HydraError ? thrown : new HydraError(code, messageOf(thrown));
}
