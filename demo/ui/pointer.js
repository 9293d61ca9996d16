// Pointer and keys on the picture, in coordinates of the photo; a mode hears of them as `tap`, `drag` and `key`.

const STEADY = 8; // CSS pixels a tap may wander

// handlers: tap({x, y}), drag({x, y, dx, dy, phase}) -> true when taken, key(name) -> true when taken
export function listen(canvas, handlers) {
  let down = null;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return {x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height};
  };

  canvas.addEventListener('pointerdown', (event) => {
    if (!event.isPrimary || event.button) return;
    const at = place(event);
    down = {at, last: at, client: [event.clientX, event.clientY], moved: false};
    canvas.setPointerCapture(event.pointerId);
    down.taken = handlers.drag({...at, dx: 0, dy: 0, phase: 'start'}) === true;
  });

  canvas.addEventListener('pointermove', (event) => {
    if (!down || !event.isPrimary) return;
    down.moved ||= Math.hypot(event.clientX - down.client[0], event.clientY - down.client[1]) > STEADY;
    if (!down.moved) return;
    const at = place(event);
    handlers.drag({...at, dx: at.x - down.last.x, dy: at.y - down.last.y, phase: 'move'});
    down.last = at;
  });

  const end = (event) => {
    if (!down || !event.isPrimary) return;
    const {moved, taken, last} = down;
    down = null;
    if (taken || moved) handlers.drag({...last, dx: 0, dy: 0, phase: 'end'});
    if (!moved && event.type === 'pointerup') handlers.tap(place(event));
  };
  canvas.addEventListener('pointerup', end);
  canvas.addEventListener('pointercancel', end);

  canvas.addEventListener('keydown', (event) => {
    if (handlers.key(event.key)) event.preventDefault();
  });
}
