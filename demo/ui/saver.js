// The dialog that saves: the photo's own size, JPEG or PNG.

import {save} from '../app/save.js';
import {byId, h, megabytes} from './dom.js';

const TYPES = {jpeg: 'image/jpeg', png: 'image/png'};

export function openSaver({stage, scene, mode, settings}) {
  const dialog = byId('saver');
  const clear = Boolean(mode.transparent?.(settings));
  const formats = mode.formats ?? (clear ? ['png'] : ['jpeg', 'png']);
  const status = h('p', {class: 'small', role: 'status'});
  const bar = h('progress', {max: 1, value: 0, hidden: true, 'aria-label': 'Rendering'});
  const buttons = formats.map((format) =>
    h(
      'button',
      {type: 'button', class: 'door', 'data-format': format, onclick: () => run(format)},
      format.toUpperCase(),
    ),
  );

  async function run(format) {
    buttons.forEach((button) => (button.disabled = true));
    bar.hidden = false;
    status.textContent = mode.save ? 'Putting it together' : 'Rendering in tiles';
    try {
      const blob = mode.save
        ? await mode.save(format)
        : await save({stage, scene, mode, settings, type: TYPES[format]}, (share) => (bar.value = share));
      download(blob, `${scene.photo.name.replace(/\.[^.]*$/, '')}-${mode.id}.${format === 'jpeg' ? 'jpg' : format}`);
      status.textContent = `Saved, ${megabytes(blob.size)}`;
    } catch (error) {
      status.textContent = error.message;
    } finally {
      bar.hidden = true;
      buttons.forEach((button) => (button.disabled = false));
    }
  }

  dialog.replaceChildren(
    h(
      'header',
      {},
      h('h2', {id: 'saver-title'}, 'Save'),
      h('button', {type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => dialog.close()}, '×'),
    ),
    h(
      'p',
      {},
      mode.saved ?? `${mode.title} at the photo's own size, ${scene.photo.width} × ${scene.photo.height}.`,
      clear ? ' PNG, with the matte as its transparency.' : '',
    ),
    h('div', {class: 'doors'}, buttons),
    bar,
    status,
  );
  dialog.showModal();
}

function download(blob, name) {
  const link = h('a', {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
