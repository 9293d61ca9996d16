// Every way a photo comes in: picked, dropped, pasted, taken with the camera, or one of the samples.

/** @import {SampleRow} from '../types.d.ts' */

import {messageOf} from '/runtime/errors.js';
import {takePhoto} from './camera.js';
import {byId, h} from './dom.js';
import {showNotice} from './notices.js';

/** @typedef {(file: Blob & {name?: string}, name?: string) => unknown} OpenPhoto */

/**
 * Listen for photos and show the samples.
 *
 * @param {SampleRow[]} samples
 * @param {OpenPhoto} open gets each photo
 */
export function listenForPhotos(samples, open) {
  const input = byId('file');
  const pick = () => input.click();
  byId('pick').addEventListener('click', pick);
  byId('open').addEventListener('click', pick);
  byId('shoot').addEventListener('click', () => takePhoto(open));
  input.addEventListener('change', () => {
    if (input.files?.length) open(input.files[0]);
    input.value = ''; // the same photo may be chosen again
  });
  listenForDrops(open);
  document.addEventListener('paste', ({clipboardData}) => {
    const file = clipboardData?.files[0];
    if (file) open(file, file.name || 'pasted photo');
  });
  byId('samples').replaceChildren(...samples.map((sample) => thumbnail(sample, open)));
}

/** @param {OpenPhoto} open */
function listenForDrops(open) {
  let depth = 0; // dragenter and dragleave come for every child
  /** @param {boolean} on */
  const show = (on) => byId('drop').classList.toggle('on', on);
  /** @param {DragEvent} event */
  const carriesFile = ({dataTransfer}) => Boolean(dataTransfer?.types.includes('Files'));
  document.addEventListener('dragenter', (event) => carriesFile(event) && show(++depth > 0));
  document.addEventListener('dragleave', (event) => carriesFile(event) && show(--depth > 0));
  document.addEventListener('dragover', (event) => carriesFile(event) && event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    show(false);
    const file = event.dataTransfer?.files[0];
    if (file) open(file);
  });
}

/**
 * Make the button of a sample.
 *
 * @param {SampleRow} sample
 * @param {OpenPhoto} open
 */
function thumbnail({url, thumbnail: small, name, title}, open) {
  const load = async () => {
    try {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      await open(await response.blob(), name);
    } catch (error) {
      showNotice(`${name} could not be fetched (${messageOf(error)})`);
    }
  };
  return h(
    'button',
    {type: 'button', class: 'thumb', 'data-name': name, onclick: load},
    h('img', {src: small, alt: title, width: 124, height: 164, loading: 'lazy', decoding: 'async'}),
  );
}
