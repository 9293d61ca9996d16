// The dialog that saves: the photo's own size as JPEG or PNG, or a mode's own formats.

/** @import {Scene} from '../app/scene.js' */
/** @import {Stage} from '../gl/stage.js' */
/** @import {Mode, SaveFormat, Settings} from '../modes/types.d.ts' */

import {messageOf} from '/runtime/errors.js';
import {save} from '../app/save.js';
import {byId, h, megabytes} from './dom.js';

/** @typedef {{stage: Stage, scene: Scene, mode: Mode, settings: Settings}} Job */

const LINK_LIFE = 60_000; // ms: a download has begun by then

/**
 * Open the dialog.
 *
 * @param {Job} job
 */
export function openSaver(job) {
  const {scene, mode, settings} = job;
  const dialog = byId('saver');
  const clear = Boolean(mode.transparent?.(settings));
  const status = h('p', {class: 'small', role: 'status'});
  const bar = h('progress', {max: 1, value: 0, hidden: true, 'aria-label': 'Rendering'});
  const buttons = formatsOf(mode, clear).map((format) =>
    h(
      'button',
      {type: 'button', class: 'door', 'data-format': format, onclick: () => run(format)},
      format.toUpperCase(),
    ),
  );

  /** @param {SaveFormat} format */
  async function run(format) {
    for (const button of buttons) button.disabled = true;
    bar.hidden = false;
    status.textContent = mode.mount ? 'Putting it together' : 'Rendering in tiles';
    try {
      const blob = await encoded(job, format, (share) => {
        bar.value = share;
      });
      const extension = format === 'jpeg' ? 'jpg' : format;
      download(blob, `${scene.photo.name.replace(/\.[^.]*$/, '')}-${mode.id}.${extension}`);
      status.textContent = `Saved, ${megabytes(blob.size)}`;
    } catch (error) {
      status.textContent = messageOf(error);
    } finally {
      bar.hidden = true;
      for (const button of buttons) button.disabled = false;
    }
  }

  const size = `${scene.photo.width} × ${scene.photo.height}`;
  const words = mode.mount ? mode.saved : `${mode.title} at the photo's own size, ${size}.`;
  const close = {type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => dialog.close()};
  dialog.replaceChildren(
    h('header', {}, h('h2', {id: 'saver-title'}, 'Save'), h('button', close, '×')),
    h('p', {}, words, clear ? ' PNG, with the matte as its transparency.' : ''),
    h('div', {class: 'doors'}, buttons),
    bar,
    status,
  );
  dialog.showModal();
}

/**
 * Return the formats that a mode can be saved in.
 *
 * @param {Mode} mode
 * @param {boolean} clear whether the picture has clear parts
 * @returns {SaveFormat[]}
 */
function formatsOf(mode, clear) {
  if (mode.mount) return mode.formats;
  return clear ? ['png'] : ['jpeg', 'png'];
}

/**
 * Render and encode.
 *
 * @param {Job} job
 * @param {SaveFormat} format
 * @param {(share: number) => void} onProgress
 * @returns {Promise<Blob>}
 */
async function encoded({stage, scene, mode, settings}, format, onProgress) {
  if (mode.mount) return mode.save(format);
  return save({stage, scene, mode, settings, type: `image/${format}`}, onProgress);
}

/**
 * Hand a file to the browser's downloads.
 *
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const link = h('a', {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), LINK_LIFE);
}
