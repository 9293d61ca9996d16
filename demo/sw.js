// Keeps the page, its runtimes and samples for use without a network. With a network the server is asked first: an old
// page must never meet a new model. Models themselves are kept by their hash (app/store.js).

const CACHE = 'hydra-page-1';

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

worker.addEventListener('install', (event) => {
  event.waitUntil(install());
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(worker.clients.claim());
});

worker.addEventListener('fetch', (event) => {
  const {pathname, origin} = new URL(event.request.url);
  if (event.request.method !== 'GET' || origin !== location.origin || pathname.startsWith('/model')) return;
  event.respondWith(respond(event.request));
});

/** Fill the cache with everything that the page needs. */
async function install() {
  const cache = await caches.open(CACHE);
  const files = await (await fetch('/shell.json')).json();
  await cache.addAll([...files, '/catalog.json']);
  await worker.skipWaiting();
}

/**
 * Answer from the network, or from the cache where there is none.
 *
 * @param {Request} request
 * @returns {Promise<Response>}
 */
async function respond(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const cached = await cache.match(request, {ignoreVary: true});
    if (cached) return cached;
    throw error;
  }
}
