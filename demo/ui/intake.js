// Every way a photo comes in: picked, dropped, pasted, taken with the camera, or one of the samples.

import {takePhoto} from './camera.js';
import {byId, h} from './dom.js';
import {notice} from './notices.js';

// open(blob, name) takes it from here.
export function takeIn(samples, open) {
  const input = byId('file');
  const pick = () => input.click();
  byId('pick').addEventListener('click', pick);
  byId('open').addEventListener('click', pick);
  byId('shoot').addEventListener('click', () => takePhoto(open));
  input.addEventListener('change', () => {
    if (input.files.length) open(input.files[0]);
    input.value = ''; // the same photo may be chosen again
  });
  dropping(open);
  document.addEventListener('paste', ({clipboardData}) => {
    const file = [...clipboardData.files][0];
    if (file) open(file, file.name || 'pasted photo');
  });
  byId('samples').replaceChildren(...samples.map((sample) => thumbnail(sample, open)));
}

function dropping(open) {
  let depth = 0; // dragenter and dragleave come for every child
  const show = (on) => byId('drop').classList.toggle('on', on);
  const carriesFile = ({dataTransfer}) => dataTransfer?.types.includes('Files');
  document.addEventListener('dragenter', (event) => carriesFile(event) && show(++depth > 0));
  document.addEventListener('dragleave', (event) => carriesFile(event) && show(--depth > 0));
  document.addEventListener('dragover', (event) => carriesFile(event) && event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    show(false);
    const [file] = event.dataTransfer.files;
    if (file) open(file);
  });
}

function thumbnail({url, name, title, width, height}, open) {
  const load = async () => {
    try {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      await open(await answer.blob(), name);
    } catch (error) {
      notice(`${name} could not be fetched (${error.message})`);
    }
  };
  return h(
    'button',
    {type: 'button', class: 'thumb', 'data-name': name, onclick: load},
    h('img', {src: url, alt: title, width, height, loading: 'lazy', decoding: 'async'}),
  );
}
