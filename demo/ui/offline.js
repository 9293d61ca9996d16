// The page without a network.

import {messageOf} from '/runtime/errors.js';

const PATIENCE = 3000; // ms

/**
 * Register the service worker and wait until it controls the page, but not for long. Files that the page fetches before
 * that would be missing without a network after the first visit.
 *
 * @returns {Promise<void>}
 */
export async function keepOffline() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register('/sw.js');
    const controlled = new Promise((resolve) => {
      if (navigator.serviceWorker.controller) resolve(true);
      else navigator.serviceWorker.addEventListener('controllerchange', resolve, {once: true});
    });
    await Promise.race([controlled, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  } catch (error) {
    console.info(`no offline use: ${messageOf(error)}`); // a private window: all else works
  }
}

/**
 * Fetch what the page needs later, so that the service worker keeps it: the 3D mode's files and the sample photos. Call it
 * when the page has nothing else to do.
 *
 * @returns {Promise<void>}
 */
export async function keepLater() {
  if (!navigator.serviceWorker?.controller || document.body.dataset.kept) return;
  try {
    const {later} = await (await fetch('/shell.json')).json();
    for (const url of later) await fetch(url, {priority: 'low'});
    document.body.dataset.kept = 'true';
  } catch (error) {
    console.info(`not all is kept for offline use: ${messageOf(error)}`); // the next picture tries again
  }
}
