// Pointer and keys on the picture, in coordinates of the photo. A mode receives them as `tap`, `drag` and `key`.

/** @import {Drag, Point} from '../modes/types.d.ts' */

/**
 * The listeners for pointer and keys. `drag` and `key` return true when they handled the event.
 *
 * @typedef {object} Handlers
 * @property {(at: Point) => void} tap
 * @property {(move: Drag) => boolean} drag
 * @property {(name: string) => boolean} key
 */

/** @typedef {{last: Point, clientX: number, clientY: number, moved: boolean, taken: boolean}} Press */

const TAP_SLACK = 8; // CSS pixels that a tap may move

/**
 * Listen to pointer and keys on the picture.
 *
 * @param {HTMLElement} canvas
 * @param {Handlers} handlers
 */
export function listen(canvas, handlers) {
  /** @type {Press | null} */
  let press = null;

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  const pointOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return {x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height};
  };

  canvas.addEventListener('pointerdown', (event) => {
    if (!event.isPrimary || event.button) return;
    const at = pointOf(event);
    canvas.setPointerCapture(event.pointerId);
    const {clientX, clientY} = event;
    press = {last: at, clientX, clientY, moved: false, taken: false};
    press.taken = handlers.drag({...at, dx: 0, dy: 0, phase: 'start'});
  });

  canvas.addEventListener('pointermove', (event) => {
    if (!press || !event.isPrimary) return;
    press.moved ||= Math.hypot(event.clientX - press.clientX, event.clientY - press.clientY) > TAP_SLACK;
    if (!press.moved) return;
    const at = pointOf(event);
    handlers.drag({...at, dx: at.x - press.last.x, dy: at.y - press.last.y, phase: 'move'});
    press.last = at;
  });

  /** @param {PointerEvent} event */
  const end = (event) => {
    if (!press || !event.isPrimary) return;
    const {moved, taken, last} = press;
    press = null;
    if (taken || moved) handlers.drag({...last, dx: 0, dy: 0, phase: 'end'});
    if (!moved && event.type === 'pointerup') handlers.tap(pointOf(event));
  };
  canvas.addEventListener('pointerup', end);
  canvas.addEventListener('pointercancel', end);

  canvas.addEventListener('keydown', (event) => {
    if (handlers.key(event.key)) event.preventDefault();
  });
}
