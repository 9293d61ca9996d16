// Draws the current mode of the current scene, at most once per animation frame, and glides from setting to setting.

/** @import {Stage, Target} from '../gl/stage.js' */
/** @import {PaintedMode, Settings} from '../modes/types.d.ts' */
/** @import {Rgba} from '../types.d.ts' */
/** @import {Scene} from './scene.js' */

import {prefersReducedMotion} from '../ui/dom.js';

const SHOW = `
in vec2 uv;
uniform sampler2D left, right;
uniform float seam; // left of it the first picture, right of it the second
out vec4 result;
void main() {
  vec2 at = vec2(uv.x, 1.0 - uv.y);
  vec4 color = at.x < seam ? texture(left, at) : texture(right, at);
  result = vec4(color.rgb * color.a, color.a);
}`;

const COPY = `
in vec2 uv;
uniform sampler2D source;
out vec4 result;
void main() { result = vec4(texture(source, uv).rgb, 1.0); }`;

const GLIDE = 260; // ms

/** @typedef {{scene: Scene, mode: PaintedMode, other: Scene | null}} Shown */

export class Painter {
  /** @param {Stage} stage */
  constructor(stage) {
    this.stage = stage;
    /** @type {Shown | null} */
    this.shown = null;
    /** @type {Settings} the end of the glide */
    this.settings = {};
    /** @type {Settings} as drawn last */
    this.current = {};
    /** @type {{from: Settings, start: number, duration: number} | null} */
    this.glide = null;
    this.frames = 0;
    /** Where the second picture begins, of the width. */
    this.seam = 1;
    /** Show the photo as it was. */
    this.original = false;
    /** @type {Map<string, Target>} */
    this.outputs = new Map();
    /** @type {number | null} the animation frame that is asked for */
    this.asked = null;
  }

  /**
   * Show a scene in a mode.
   *
   * @param {Scene} scene
   * @param {PaintedMode} mode
   * @param {Settings} settings
   * @param {Scene | null} [other] a second scene of the same photo, to compare
   */
  show(scene, mode, settings, other = null) {
    this.shown = {scene, mode, other};
    this.settings = settings;
    this.glide = null;
    const {canvas} = this.stage;
    if (canvas.width !== scene.width || canvas.height !== scene.height) {
      Object.assign(canvas, {width: scene.width, height: scene.height});
      this.stage.free(...this.outputs.values());
      this.outputs.clear();
    }
    this.ask();
  }

  /**
   * Change the settings, at once or gliding there.
   *
   * @param {Settings} settings
   * @param {{glide?: boolean, duration?: number}} [options] duration in milliseconds
   */
  change(settings, {glide = false, duration = GLIDE} = {}) {
    const from = glide && !prefersReducedMotion() ? {...this.current} : null;
    this.settings = settings;
    this.glide = from && {from, start: performance.now(), duration};
    this.ask();
  }

  /** Ask for the next animation frame. */
  ask() {
    this.asked ??= requestAnimationFrame((now) => {
      this.asked = null;
      this.paint(now);
    });
  }

  /**
   * Draw now.
   *
   * @param {number} [now] in milliseconds, as `performance.now`
   */
  paint(now = performance.now()) {
    if (!this.shown || this.stage.gl.isContextLost()) return;
    this.current = this.settings;
    if (this.glide) {
      const t = Math.min(Math.max((now - this.glide.start) / this.glide.duration, 0), 1);
      this.current = between(this.glide.from, this.settings, 1 - (1 - t) ** 3);
      if (t === 1) this.glide = null;
      else this.ask();
    }
    const {scene, mode, other} = this.shown;
    const left = this.render(scene, mode, 'left');
    const right = other ? this.render(other, mode, 'right') : left;
    this.stage.draw(SHOW, {left, right, seam: other ? this.seam : 2});
    this.frames += 1;
    document.body.dataset.frames = String(this.frames);
  }

  /**
   * Draw one scene into its output.
   *
   * @param {Scene} scene
   * @param {PaintedMode} mode
   * @param {'left' | 'right'} side
   * @returns {Target}
   */
  render(scene, mode, side) {
    const output = this.output(side);
    const {stage, current: settings} = this;
    if (this.original) stage.draw(COPY, {source: scene.view.source}, output);
    else mode.render({stage, scene, view: scene.view, settings, output});
    return output;
  }

  /**
   * Return the target of one side, of the canvas's size.
   *
   * @param {'left' | 'right'} side
   * @returns {Target}
   */
  output(side) {
    const existing = this.outputs.get(side);
    if (existing) return existing;
    const output = this.stage.target(this.stage.canvas.width, this.stage.canvas.height);
    this.outputs.set(side, output);
    return output;
  }

  /**
   * Draw without a glide and read the picture, without the canvas's own rounding.
   *
   * @returns {Rgba} colour not multiplied by alpha
   */
  pixels() {
    this.glide = null;
    this.paint();
    const {width, height} = this.output('left');
    return {width, height, data: this.stage.read(this.output('left'))};
  }
}

/**
 * Return settings on their way: numbers and lists of numbers are mixed, all else is taken from `to`.
 *
 * @param {Settings} from
 * @param {Settings} to
 * @param {number} t in [0, 1]
 * @returns {Settings}
 */
function between(from, to, t) {
  /**
   * @param {unknown} a
   * @param {unknown} b
   * @returns {unknown}
   */
  const mix = (a, b) => {
    if (typeof a === 'number' && typeof b === 'number') return a + (b - a) * t;
    return Array.isArray(a) && Array.isArray(b) ? b.map((value, index) => mix(a[index], value)) : b;
  };
  return Object.fromEntries(Object.entries(to).map(([key, value]) => [key, mix(from[key], value)]));
}
