// A photo from the camera: a viewfinder in the page where the browser allows it, else the system's own camera.

/** @import {OpenPhoto} from './intake.js' */

import {contextOf} from '../app/photo.js';
import {byId, h} from './dom.js';
import {showNotice} from './notices.js';

/**
 * Let the user take a photo.
 *
 * @param {OpenPhoto} open gets the photo
 * @returns {Promise<void>}
 */
export async function takePhoto(open) {
  const wanted = {video: {facingMode: 'user', width: {ideal: 1920}}};
  const stream = await navigator.mediaDevices?.getUserMedia(wanted).catch(() => null);
  if (stream) viewfinder(stream, open);
  else systemCamera(open);
}

/** @param {OpenPhoto} open */
function systemCamera(open) {
  const input = h('input', {
    type: 'file',
    accept: 'image/*',
    capture: 'user',
    onchange: () => {
      if (input.files?.length) open(input.files[0]);
    },
  });
  input.click();
}

/**
 * Show the camera's picture with a shutter.
 *
 * @param {MediaStream} stream
 * @param {OpenPhoto} open
 */
function viewfinder(stream, open) {
  const dialog = byId('camera');
  const video = h('video', {autoplay: true, playsinline: true, muted: true});
  video.srcObject = stream;
  const shutter = h('button', {
    type: 'button',
    class: 'shutter',
    'aria-label': 'Take the photo',
    onclick: async () => {
      const blob = await captured(video);
      dialog.close();
      if (blob) open(blob, 'camera.png');
      else showNotice('the browser could not code the photo');
    },
  });
  const close = {type: 'button', class: 'plain close', 'aria-label': 'Close', onclick: () => dialog.close()};
  dialog.replaceChildren(video, shutter, h('button', close, '×'));
  dialog.onclose = () => {
    for (const track of stream.getTracks()) track.stop();
  };
  dialog.showModal();
}

/**
 * Return the current frame of a video as PNG.
 *
 * @param {HTMLVideoElement} video
 * @returns {Promise<Blob | null>} null where the browser cannot encode it
 */
function captured(video) {
  const canvas = h('canvas', {width: video.videoWidth, height: video.videoHeight});
  contextOf(canvas).drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}
