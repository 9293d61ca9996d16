// A part of a photo on the graphics card: its pixels and its maps at the same size. The preview is a view of the whole
// photo, a tile of the saved picture is a view of a part at the photo's own size; modes render either alike.

// What every shader of a view may use; VIEW_UNIFORMS below gives the values.
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
// haze over flat background is none, and the inside of a person is wholly inside.
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
  // lifted: textures of lift.js's results (Lifted below). source: canvas or bitmap of the region.
  constructor(stage, lifted, source, region = [0, 0, 1, 1]) {
    const {width, height} = source;
    Object.assign(this, {stage, lifted, width, height, region});
    this.source = stage.texture(source);
    this.maps = stage.target(width, height, {format: 'RGBA16F'});
    this.made = new Map();
    stage.draw(MAPS, {...lifted, source: this.source, region}, this.maps);
  }

  // Pixels of this view along the whole photo's diagonal: what sizes in a picture are given in.
  get diagonal() {
    return Math.hypot(this.width / this.region[2], this.height / this.region[3]);
  }

  get uniforms() {
    return {
      source: this.source,
      maps: this.maps,
      front: this.lifted.front,
      back: this.lifted.back,
      region: this.region,
    };
  }

  // A target that lives as long as the view, made at the first call.
  target(name, width, height, options) {
    if (!this.made.has(name)) this.made.set(name, this.stage.target(width, height, options));
    return this.made.get(name);
  }

  free() {
    this.stage.free(this.source, this.maps, ...this.made.values());
  }
}

// The results of lift.js on the graphics card.
export class Lifted {
  constructor(stage, {width, height, matte, near, far, front, back}) {
    const table = (data) => stage.texture({data, width, height}, {filter: 'NEAREST'});
    Object.assign(this, {stage, matte: table(matte), near: table(near), far: table(far)});
    Object.assign(this, {
      front: stage.texture({data: front, width, height}),
      back: stage.texture({data: back, width, height}),
    });
  }

  free() {
    this.stage.free(this.matte, this.near, this.far, this.front, this.back);
  }
}
