// Progress, errors and what was found.

/** @import {Progress} from '../types.d.ts' */

import {byId, inside} from './dom.js';

/**
 * Show a message, or take it away.
 *
 * @param {string | null} text
 * @param {{label: string, run: () => void, calm?: boolean}} [action] a button; `calm` where nothing went wrong
 */
export function showNotice(text, action) {
  const box = byId('notice');
  box.hidden = !text;
  box.classList.toggle('calm', Boolean(action?.calm));
  inside(box, 'span').textContent = text ?? '';
  byId('act').hidden = !action;
  byId('act').textContent = action?.label ?? '';
  byId('act').onclick = () => {
    box.hidden = true;
    action?.run();
  };
  byId('dismiss').onclick = () => {
    box.hidden = true;
  };
}

/**
 * Show the current work, over the picture, and over the first page while there is no picture.
 *
 * @param {string | null} text null when it is over
 */
export function showBusy(text) {
  byId('busy').hidden = !text;
  inside(byId('busy'), 'span').textContent = text ?? '';
  byId('welcome').setAttribute('aria-busy', String(Boolean(text)));
  byId('welcome').dataset.busy = text ?? '';
}

/**
 * Show how much of a download is done.
 *
 * @param {Progress | null} state null when it is over
 */
export function showProgress(state) {
  const bar = byId('progress');
  const share = state ? Math.round((100 * state.done) / state.total) : 0;
  bar.hidden = !state;
  bar.setAttribute('aria-valuenow', String(share));
  inside(bar, 'i').style.width = `${share}%`;
}
