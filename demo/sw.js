// Keeps the page, its runtimes and samples for the time without a network. With one, the server is asked first: an old
// page must never meet a new model. Models themselves are kept by hash (app/store.js).

const CACHE = 'hydra-page-1';

addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      const files = await (await fetch('/shell.json')).json();
      await cache.addAll([...files, '/catalog.json']);
      await skipWaiting();
    })(),
  );
});

addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('fetch', (event) => {
  const {pathname, origin} = new URL(event.request.url);
  if (event.request.method !== 'GET' || origin !== location.origin || pathname.startsWith('/model')) return;
  event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const fresh = await fetch(request);
    if (fresh.ok) await cache.put(request, fresh.clone());
    return fresh;
  } catch (error) {
    const kept = await cache.match(request, {ignoreVary: true});
    if (kept) return kept;
    throw error;
  }
}
