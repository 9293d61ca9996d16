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
