// Draws the current mode of the current scene, once a frame at most, and glides from setting to setting.

import {calm} from '../ui/dom.js';

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

export class Painter {
  constructor(stage) {
    Object.assign(this, {stage, frames: 0, seam: 1, original: false, outputs: new Map()});
  }

  // other: a second scene of the same photo, to compare, or null
  show(scene, mode, settings, other = null) {
    Object.assign(this, {scene, mode, settings, other});
    this.glide = null;
    const {canvas} = this.stage;
    if (canvas.width !== scene.width || canvas.height !== scene.height) {
      Object.assign(canvas, {width: scene.width, height: scene.height});
      this.stage.free(...this.outputs.values());
      this.outputs.clear();
    }
    this.ask();
  }

  // Settings change at once, or their numbers glide there.
  change(settings, {glide = false, duration = GLIDE} = {}) {
    const from = glide && !calm() ? {...this.current} : null;
    this.settings = settings;
    this.glide = from && {from, start: performance.now(), duration};
    this.ask();
  }

  ask() {
    this.asked ??= requestAnimationFrame((now) => {
      this.asked = null;
      this.paint(now);
    });
  }

  paint(now = performance.now()) {
    if (!this.scene || this.stage.gl.isContextLost()) return;
    this.current = this.settings;
    if (this.glide) {
      const t = Math.min(Math.max((now - this.glide.start) / this.glide.duration, 0), 1);
      this.current = between(this.glide.from, this.settings, 1 - (1 - t) ** 3);
      if (t === 1) this.glide = null;
      else this.ask();
    }
    const left = this.render(this.scene, 'left');
    const right = this.other ? this.render(this.other, 'right') : left;
    this.stage.draw(SHOW, {left, right, seam: this.other ? this.seam : 2});
    this.frames += 1;
    document.body.dataset.frames = this.frames;
  }

  render(scene, name) {
    const output = this.output(name);
    if (this.original) this.stage.draw(COPY, {source: scene.view.source}, output);
    else this.mode.render({stage: this.stage, scene, view: scene.view, settings: this.current, output});
    return output;
  }

  output(name) {
    if (!this.outputs.has(name))
      this.outputs.set(name, this.stage.target(this.stage.canvas.width, this.stage.canvas.height));
    return this.outputs.get(name);
  }

  // The picture as shown, without the canvas's own rounding: RGBA bytes, alpha not multiplied in.
  pixels() {
    this.glide = null;
    this.paint();
    const {width, height} = this.output('left');
    return {width, height, data: this.stage.read(this.output('left'))};
  }
}

// Numbers and lists of numbers on their way; everything else is already there.
function between(from, to, t) {
  const mix = (a, b) => {
    if (typeof a === 'number' && typeof b === 'number') return a + (b - a) * t;
    return Array.isArray(a) && Array.isArray(b) ? b.map((value, index) => mix(a[index], value)) : b;
  };
  return Object.fromEntries(Object.entries(to).map(([key, value]) => [key, mix(from[key], value)]));
}
