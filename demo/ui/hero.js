// The picture on the start page, which shows what the page does: one photo, refocused by itself.

/** @import {HeroRow} from '../types.d.ts' */

import {byId, h} from './dom.js';

/**
 * Show the states of the picture in turn. A catalog without them leaves the page to its words.
 *
 * @param {HeroRow[]} states the first is the photo as taken
 */
export function showHero(states) {
  const figure = byId('hero');
  figure.hidden = !states.length;
  if (!states.length) return;
  const [{width, height}] = states;
  figure.style.setProperty('--aspect', String(width / height));
  /**
   * Give an element its place in the turn.
   *
   * @template {HTMLElement} Element
   * @param {Element} element
   * @param {number} index
   * @returns {Element}
   */
  const inTurn = (element, index) => {
    element.style.setProperty('--i', String(index));
    return element;
  };
  figure.replaceChildren(
    ...states.map(({url}, index) => inTurn(h('img', {src: url, alt: '', width, height, decoding: 'async'}), index)),
    ...states.map(({label}, index) => inTurn(h('figcaption', {}, label), index)),
  );
}
