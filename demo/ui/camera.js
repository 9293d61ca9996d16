// A photo from the camera: a finder in the page where the browser allows it, or else the system's own camera.

import {byId, h} from './dom.js';

export async function takePhoto(open) {
  const stream = await navigator.mediaDevices
    ?.getUserMedia({video: {facingMode: 'user', width: {ideal: 1920}}})
    .catch(() => null);
  if (stream) finder(stream, open);
  else system(open);
}

function system(open) {
  const input = h('input', {
    type: 'file',
    accept: 'image/*',
    capture: 'user',
    onchange: () => input.files.length && open(input.files[0]),
  });
  input.click();
}

function finder(stream, open) {
  const dialog = byId('camera');
  const video = h('video', {autoplay: true, playsinline: true, muted: true});
  video.srcObject = stream;
  const shutter = h('button', {
    type: 'button',
    class: 'shutter',
    'aria-label': 'Take the photo',
    onclick: async () => {
      const canvas = h('canvas', {width: video.videoWidth, height: video.videoHeight});
      canvas.getContext('2d').drawImage(video, 0, 0);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
      dialog.close();
      open(blob, 'camera.png');
    },
  });
  dialog.replaceChildren(
    video,
    shutter,
    h('button', {type: 'button', class: 'plain close', 'aria-label': 'Close', onclick: () => dialog.close()}, '×'),
  );
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  dialog.showModal();
}
