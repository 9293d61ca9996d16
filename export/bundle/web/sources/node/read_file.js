import {readFile as read} from 'node:fs/promises';

/**
 * Read a file.
 *
 * @param {string} url a file: URL
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export const readFile = async (url) => new Uint8Array(await read(new URL(url)));
