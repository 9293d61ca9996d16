// A part of a photo on the graphics card: its pixels and its maps at the same size. The preview is a view of the whole
// photo, a tile of the saved picture is a view of a part at the photo's own size. Modes render both in the same way.

/** @import {Layers} from '../types.d.ts' */
/** @import {Stage, Target, Texture} from './stage.js' */

/** The start of every shader that draws a view. `View.uniforms` holds the values. */
export const VIEW = `
in vec2 uv;
uniform sampler2D source; // the photo, sRGB
uniform sampler2D maps;   // alpha, depth of the people, depth behind them, depth
uniform sampler2D front;  // colours of the people, filled in around them
uniform sampler2D back;   // colours behind them, filled in
uniform vec4 region;      // x, y, width, height of the view in the photo, of 1

vec2 inPhoto() { return region.xy + uv * region.zw; }

// The photo's colour as people * alpha + behind * (1 - alpha), which holds exactly.
void split(vec3 color, float alpha, out vec3 people, out vec3 behind) {
  people = texture(front, inPhoto()).rgb;
  behind = texture(back, inPhoto()).rgb;
  vec3 rest = color - mix(behind, people, alpha);
  float share = alpha * alpha + (1.0 - alpha) * (1.0 - alpha);
  people = clamp(people + rest * alpha / share, 0.0, 1.0);
  behind = clamp(behind + rest * (1.0 - alpha) / share, 0.0, 1.0);
}
`;

// Bilinear by hand: not every phone filters 32-bit floats. The matte is stretched a little, so that the filter's faint
// haze over a flat background becomes 0 and the inside of a person becomes 1.
const MAPS = `
in vec2 uv;
uniform sampler2D source, matte, near, far;
uniform vec4 region;
out vec4 result;
vec4 fit(sampler2D table, vec2 at) {
  ivec2 last = textureSize(table, 0) - 1;
  ivec2 low = ivec2(floor(at));
  vec2 part = at - vec2(low);
  ivec2 a = clamp(low, ivec2(0), last), b = clamp(low + 1, ivec2(0), last);
  return mix(mix(texelFetch(table, a, 0), texelFetch(table, ivec2(b.x, a.y), 0), part.x),
             mix(texelFetch(table, ivec2(a.x, b.y), 0), texelFetch(table, b, 0), part.x), part.y);
}
void main() {
  vec4 color = vec4(texture(source, uv).rgb, 1.0);
  vec2 at = (region.xy + uv * region.zw) * vec2(textureSize(matte, 0)) - 0.5;
  float alpha = clamp((dot(fit(matte, at), color) - 0.04) / 0.92, 0.0, 1.0);
  float people = clamp(dot(fit(near, at), color), 0.0, 1.0);
  float behind = clamp(dot(fit(far, at), color), 0.0, 1.0);
  result = vec4(alpha, people, behind, mix(behind, people, alpha));
}`;

export class View {
  /**
   * @param {Stage} stage
   * @param {Lifted} lifted
   * @param {HTMLCanvasElement | ImageBitmap} source the pixels of the region
   * @param {[x: number, y: number, width: number, height: number]} [region] of the photo, in [0, 1]
   */
  constructor(stage, lifted, source, region = [0, 0, 1, 1]) {
    const {width, height} = source;
    this.stage = stage;
    this.lifted = lifted;
    this.width = width;
    this.height = height;
    this.region = region;
    this.source = stage.texture(source);
    this.maps = stage.target(width, height, {format: 'RGBA16F'});
    /** @type {Map<string, Target>} */
    this.targets = new Map();
    const {matte, near, far} = lifted;
    stage.draw(MAPS, {matte, near, far, source: this.source, region}, this.maps);
  }

  /** The length of the whole photo's diagonal in pixels of this view: the unit of sizes in a picture. */
  get diagonal() {
    return Math.hypot(this.width / this.region[2], this.height / this.region[3]);
  }

  /** The values of the uniforms of VIEW. */
  get uniforms() {
    const {source, maps, lifted, region} = this;
    return {source, maps, front: lifted.front, back: lifted.back, region};
  }

  /**
   * Return a target that lives as long as the view, made at the first call.
   *
   * @param {string} name
   * @param {number} width
   * @param {number} height
   * @param {Parameters<Stage['target']>[2]} [options]
   * @returns {Target}
   */
  target(name, width, height, options) {
    const existing = this.targets.get(name);
    if (existing) return existing;
    const target = this.stage.target(width, height, options);
    this.targets.set(name, target);
    return target;
  }

  /** Free the view's textures. */
  free() {
    this.stage.free(this.source, this.maps, ...this.targets.values());
  }
}

/** The results of lift.js on the graphics card. */
export class Lifted {
  /**
   * @param {Stage} stage
   * @param {Layers} layers
   */
  constructor(stage, {width, height, matte, near, far, front, back}) {
    /**
     * @param {Float32Array} data
     * @returns {Texture}
     */
    const coefficients = (data) => stage.texture({data, width, height}, {filter: 'NEAREST'});
    this.stage = stage;
    this.matte = coefficients(matte);
    this.near = coefficients(near);
    this.far = coefficients(far);
    this.front = stage.texture({data: front, width, height});
    this.back = stage.texture({data: back, width, height});
  }

  /** Free the textures. */
  free() {
    this.stage.free(this.matte, this.near, this.far, this.front, this.back);
  }
}
