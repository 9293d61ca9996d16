// Keeps the page, its runtimes and samples for use without a network. With a network the server is asked first: an old
// page must never meet a new model. Models themselves are kept by their hash (the runtime's store.js).
//
// The server marks its answers with the hash of its build (X-Hydra-Build). Answers without the mark come from another
// program on the same port: they pass through, nothing of them is kept, and the worker removes itself.

// The server writes the hash here, so each build has a worker and a cache of its own.
const BUILD = 'BUILD';
const PREFIX = 'hydra-page-';
const CACHE = `${PREFIX}${BUILD}`;
const MARK = 'X-Hydra-Build';

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

worker.addEventListener('install', (event) => {
  event.waitUntil(install());
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(forget((name) => name !== CACHE).then(() => worker.clients.claim()));
});

worker.addEventListener('fetch', (event) => {
  const {pathname, origin} = new URL(event.request.url);
  if (event.request.method !== 'GET' || origin !== location.origin || pathname.startsWith('/model')) return;
  event.respondWith(respond(event));
});

/** Fill the cache with everything that the page needs. */
async function install() {
  const cache = await caches.open(CACHE);
  const {build, files} = await (await fetch('/shell.json')).json();
  if (build !== BUILD) throw new Error('the server has another build by now');
  await cache.addAll([...files, '/catalog.json']);
  await worker.skipWaiting();
}

/**
 * Delete the pages' caches with these names. Caches of other programs on this origin are theirs.
 *
 * @param {(name: string) => boolean} chosen
 */
async function forget(chosen) {
  const names = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && chosen(name));
  await Promise.all(names.map((name) => caches.delete(name)));
}

/** Leave this origin: delete the pages and the registration. */
async function leave() {
  await forget(() => true);
  await worker.registration.unregister();
}

/**
 * Return whether an answer comes from another program. A server that is only busy (5xx) may be the demo's.
 *
 * @param {Response} response
 */
const foreign = (response) => !response.headers.has(MARK) && response.status < 500;

/**
 * Answer from the network, whatever it says; from the cache only where there is no network.
 *
 * @param {FetchEvent} event
 * @returns {Promise<Response>}
 */
async function respond(event) {
  const {request} = event;
  /** @type {Response} */
  let response;
  try {
    response = await fetch(request);
  } catch (error) {
    const cached = await (await caches.open(CACHE)).match(request, {ignoreVary: true});
    if (cached) return cached;
    throw error;
  }
  if (request.mode === 'navigate' && foreign(response)) event.waitUntil(leave());
  else if (response.ok && response.headers.get(MARK) === BUILD) event.waitUntil(keep(request, response.clone()));
  return response;
}

/**
 * Keep an answer. A full disk costs the use without a network, not the page.
 *
 * @param {Request} request
 * @param {Response} response
 */
async function keep(request, response) {
  const cache = await caches.open(CACHE);
  await cache.put(request, response).catch(() => {});
}
