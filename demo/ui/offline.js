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
