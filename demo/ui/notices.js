// What is under way, and what went wrong.

import {byId} from './dom.js';

// error: text, or null to take it away. retry: what "Try again" does, if anything helps.
export function notice(error, retry) {
  const box = byId('notice');
  box.hidden = !error;
  box.querySelector('span').textContent = error ?? '';
  byId('retry').hidden = !retry;
  byId('retry').onclick = () => {
    box.hidden = true;
    retry();
  };
  byId('dismiss').onclick = () => (box.hidden = true);
}

// text, or null. Over the picture, and over the first page while there is none.
export function busy(text) {
  byId('busy').hidden = !text;
  byId('busy').querySelector('span').textContent = text ?? '';
  byId('welcome').setAttribute('aria-busy', Boolean(text));
  byId('welcome').dataset.busy = text ?? '';
}

// {done, total} in bytes, or null when it is over.
export function progress(state) {
  const bar = byId('progress');
  const share = state ? Math.round((100 * state.done) / state.total) : 0;
  bar.hidden = !state;
  bar.setAttribute('aria-valuenow', share);
  bar.firstElementChild.style.width = `${share}%`;
}
