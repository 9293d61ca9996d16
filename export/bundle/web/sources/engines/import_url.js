/**
 * Import a module by its URL. Bundlers leave the import as it is. A bundle that puts itself on globalThis runs once.
 *
 * @template Module
 * @param {URL} base
 * @param {string} path below `base`
 * @returns {Promise<Module>}
 */
export const importUrl = (base, path) => import(/* webpackIgnore: true */ /* @vite-ignore */ new URL(path, base).href);
