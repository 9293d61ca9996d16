// The page without a network. The worker that keeps it is waited for, but not for long: what is fetched before it is
// in control would be missing without a network after the first visit.

const PATIENCE = 3000; // ms

export async function keepOffline() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register('/sw.js');
    const controlled = new Promise((resolve) => {
      if (navigator.serviceWorker.controller) resolve();
      else navigator.serviceWorker.addEventListener('controllerchange', resolve, {once: true});
    });
    await Promise.race([controlled, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  } catch (error) {
    console.info(`no offline use: ${error.message}`); // a private window: all else works
  }
}
