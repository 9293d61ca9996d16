// Progress and error messages.

/** @import {Progress} from '../types.d.ts' */

import {byId, inside} from './dom.js';

/**
 * Show an error, or take it away.
 *
 * @param {string | null} error
 * @param {() => void} [retry] the action of "Try again", where trying again may help
 */
export function showNotice(error, retry) {
  const box = byId('notice');
  box.hidden = !error;
  inside(box, 'span').textContent = error ?? '';
  byId('retry').hidden = !retry;
  byId('retry').onclick = () => {
    box.hidden = true;
    retry?.();
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
