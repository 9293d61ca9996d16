// Elements of the page, and how new ones are made.

/**
 * The elements of index.html that scripts use, by id.
 *
 * @typedef {object} Elements
 * @property {HTMLButtonElement} act
 * @property {HTMLElement} busy
 * @property {HTMLDialogElement} camera
 * @property {HTMLCanvasElement} canvas
 * @property {HTMLElement} controls
 * @property {HTMLButtonElement} dismiss
 * @property {HTMLElement} drop
 * @property {HTMLElement} editor
 * @property {HTMLInputElement} file
 * @property {HTMLElement} frame
 * @property {HTMLElement} hero
 * @property {HTMLElement} hint
 * @property {HTMLButtonElement} home
 * @property {HTMLButtonElement} inspect
 * @property {HTMLDialogElement} inspector
 * @property {HTMLElement} mount
 * @property {HTMLElement} notice
 * @property {HTMLButtonElement} open
 * @property {HTMLButtonElement} original
 * @property {HTMLButtonElement} pick
 * @property {HTMLElement} progress
 * @property {HTMLElement} ring
 * @property {HTMLElement} samples
 * @property {HTMLButtonElement} save
 * @property {HTMLDialogElement} saver
 * @property {HTMLElement} seam
 * @property {HTMLInputElement} seam-position
 * @property {HTMLButtonElement} shoot
 * @property {HTMLElement} stage
 * @property {HTMLElement} tabs
 * @property {HTMLElement} welcome
 */

/** @typedef {string | number | boolean | null | undefined | ((event: never) => unknown)} Attribute */
/** @typedef {Node | string | null | undefined} Child */

/**
 * Make an element: `h('button', {class: 'x', onclick}, 'text', child)`.
 *
 * A function is a listener, under `on` and the event's name. `true` sets an empty attribute; `false`, null and undefined
 * set none. Children that are null or undefined are left out.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {(Child | Child[])[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function')
      element.addEventListener(name.slice('on'.length), /** @type {() => void} */ (value));
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * Return an element of index.html.
 *
 * @template {keyof Elements} Id
 * @param {Id} id
 * @returns {Elements[Id]}
 */
export function byId(id) {
  const element = /** @type {unknown} */ (document.getElementById(id));
  return /** @type {Elements[Id]} */ (element);
}

/**
 * Return the first element inside `parent` that a selector matches.
 *
 * @param {Element} parent
 * @param {string} selector
 * @returns {HTMLElement}
 * @throws {Error} where none does
 */
export function inside(parent, selector) {
  const element = parent.querySelector(selector);
  if (!(element instanceof HTMLElement)) throw new Error(`#${parent.id} has no ${selector}`);
  return element;
}

/**
 * Return whether the user asked the system for little motion.
 *
 * @returns {boolean}
 */
export const prefersReducedMotion = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

/**
 * Format bytes as megabytes.
 *
 * @param {number} bytes
 * @returns {string}
 */
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
