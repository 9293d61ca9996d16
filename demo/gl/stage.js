// A WebGL 2 context with programs, textures and targets. Everything but the canvas has its first row at the top.

/** @typedef {{texture: WebGLTexture, width: number, height: number}} Texture */
/** @typedef {Texture & {framebuffer: WebGLFramebuffer, textures: Texture[], mips: boolean}} Target a framebuffer to draw into */
/** @typedef {{width: number, height: number, data: Uint8Array | Float32Array}} Pixels RGBA, first row on top */
/** @typedef {number | boolean | readonly number[] | Float32Array | Texture} UniformValue */
/** @typedef {'LINEAR' | 'NEAREST' | 'LINEAR_MIPMAP_LINEAR'} Filter */
/** @typedef {{x?: number, y?: number, width?: number, height?: number}} Part of a target, in pixels; all of it by default */

const VERTEX = `#version 300 es
out vec2 uv;
void main() {
  uv = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(uv * 2.0 - 1.0, 0, 1);
}`;

/** A feature that the browser's graphics lack. Its message is shown to the user. */
export class StageError extends Error {}

export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas
   * @throws {StageError} where WebGL 2 or drawing into 16-bit floats is missing
   */
  constructor(canvas) {
    const gl = canvas.getContext('webgl2', {antialias: false, depth: false, alpha: true, preserveDrawingBuffer: true});
    if (!gl) throw new StageError('This browser offers no WebGL 2, which the demo draws with.');
    if (!gl.getExtension('EXT_color_buffer_float') && !gl.getExtension('EXT_color_buffer_half_float')) {
      throw new StageError('This graphics driver cannot draw into 16-bit float textures, which depth of field needs.');
    }
    this.canvas = canvas;
    this.gl = gl;
    /** @type {Map<string, Program>} by fragment shader */
    this.programs = new Map();
    gl.bindVertexArray(gl.createVertexArray());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  }

  /**
   * Return the program of a fragment shader, compiled once.
   *
   * @param {string} fragment GLSL without its version line
   * @returns {Program}
   */
  program(fragment) {
    const existing = this.programs.get(fragment);
    if (existing) return existing;
    const program = new Program(this.gl, fragment);
    this.programs.set(fragment, program);
    return program;
  }

  /**
   * Upload a picture: bytes become RGBA8, floats RGBA32F.
   *
   * @param {HTMLCanvasElement | ImageBitmap | Pixels} source
   * @param {{filter?: Filter}} [options]
   * @returns {Texture}
   */
  texture(source, {filter = 'LINEAR'} = {}) {
    const {gl} = this;
    const texture = gl.createTexture();
    const {width, height} = source;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    if (!('data' in source)) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, source);
    } else if (source.data instanceof Float32Array) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, width, height, 0, gl.RGBA, gl.FLOAT, source.data);
    } else {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, source.data);
    }
    this.sample(filter);
    return {texture, width, height};
  }

  /**
   * Set how the bound texture is sampled; its edges are repeated.
   *
   * @param {Filter} filter
   */
  sample(filter) {
    const {gl} = this;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl[filter]);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter === 'NEAREST' ? gl.NEAREST : gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  }

  /**
   * Make a framebuffer with `count` textures of one format; with `mips`, `draw` computes their mip levels.
   *
   * @param {number} width
   * @param {number} height
   * @param {{format?: 'RGBA8' | 'RGBA16F', count?: number, mips?: boolean}} [options]
   * @returns {Target}
   * @throws {StageError} where there is no memory for it
   */
  target(width, height, {format = 'RGBA8', count = 1, mips = false} = {}) {
    const {gl} = this;
    const framebuffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    const levels = mips ? Math.floor(Math.log2(Math.max(width, height))) + 1 : 1;
    const textures = Array.from({length: count}, (_, index) => {
      const texture = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, levels, gl[format], width, height);
      this.sample(mips ? 'LINEAR_MIPMAP_LINEAR' : 'LINEAR');
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + index, gl.TEXTURE_2D, texture, 0);
      return {texture, width, height};
    });
    gl.drawBuffers(textures.map((_, index) => gl.COLOR_ATTACHMENT0 + index));
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) {
      throw new StageError(`no graphics memory for ${width} × ${height} pixels`);
    }
    return {framebuffer, textures, texture: textures[0].texture, width, height, mips};
  }

  /**
   * Fill a target with a fragment shader.
   *
   * @param {string} fragment GLSL without its version line
   * @param {Record<string, UniformValue>} uniforms
   * @param {Target | null} [target] null: the canvas
   */
  draw(fragment, uniforms, target = null) {
    const {gl} = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target?.framebuffer ?? null);
    const {width, height} = target ?? this.canvas;
    gl.viewport(0, 0, width, height);
    this.program(fragment).use(uniforms);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    if (!target?.mips) return;
    for (const {texture} of target.textures) {
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.generateMipmap(gl.TEXTURE_2D);
    }
  }

  /**
   * Read RGBA bytes of a target, first row on top.
   *
   * @param {Target} target
   * @param {Part} [part]
   * @returns {Uint8ClampedArray<ArrayBuffer>}
   */
  read(target, {x = 0, y = 0, width = target.width, height = target.height} = {}) {
    const {gl} = this;
    const data = new Uint8ClampedArray(width * height * 4);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
    gl.readPixels(x, y, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    return data;
  }

  /**
   * Read a float target, RGBA, first row on top.
   *
   * @param {Target} target
   * @returns {Float32Array<ArrayBuffer>}
   */
  readFloats(target) {
    const {gl} = this;
    const {width, height} = target;
    const data = new Float32Array(width * height * 4);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.FLOAT, data);
    return data;
  }

  /**
   * Free textures and targets.
   *
   * @param {(Texture | Target)[]} things
   */
  free(...things) {
    const {gl} = this;
    for (const thing of things) {
      if ('framebuffer' in thing) gl.deleteFramebuffer(thing.framebuffer);
      for (const {texture} of 'textures' in thing ? thing.textures : [thing]) gl.deleteTexture(texture);
    }
  }
}

class Program {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {string} fragment
   * @throws {StageError} with the compiler's message
   */
  constructor(gl, fragment) {
    this.gl = gl;
    this.program = gl.createProgram();
    /** @type {Map<string, {type: GLenum, location: WebGLUniformLocation | null}>} by name */
    this.uniforms = new Map();
    this.attach(gl.VERTEX_SHADER, VERTEX);
    this.attach(gl.FRAGMENT_SHADER, `#version 300 es\nprecision highp float;\n${fragment}`);
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new StageError(gl.getProgramInfoLog(this.program) ?? 'the program did not link');
    }
    for (let index = 0; index < gl.getProgramParameter(this.program, gl.ACTIVE_UNIFORMS); index++) {
      const active = gl.getActiveUniform(this.program, index);
      if (!active) continue; // the context is lost
      const {name, type} = active;
      this.uniforms.set(name.replace('[0]', ''), {type, location: gl.getUniformLocation(this.program, name)});
    }
  }

  /**
   * Compile and attach one shader.
   *
   * @param {GLenum} type
   * @param {string} source
   */
  attach(type, source) {
    const {gl} = this;
    const shader = gl.createShader(type);
    if (!shader) return; // the context is lost
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(this.program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new StageError(gl.getShaderInfoLog(shader) ?? 'a shader did not compile');
    }
  }

  /**
   * Make the program current and set its uniforms.
   *
   * @param {Record<string, UniformValue>} values
   * @throws {StageError} where one has no value
   */
  use(values) {
    const {gl} = this;
    gl.useProgram(this.program);
    let unit = 0;
    for (const [name, {type, location}] of this.uniforms) {
      const value = values[name];
      if (value === undefined) throw new StageError(`uniform ${name} has no value`);
      if (type === gl.SAMPLER_2D) {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_2D, /** @type {Texture} */ (value).texture);
        gl.uniform1i(location, unit++);
      } else {
        setUniform(gl, type, location, /** @type {Exclude<UniformValue, Texture>} */ (value));
      }
    }
    gl.activeTexture(gl.TEXTURE0);
  }
}

/**
 * Set a uniform that is no texture.
 *
 * @param {WebGL2RenderingContext} gl
 * @param {GLenum} type
 * @param {WebGLUniformLocation | null} location
 * @param {Exclude<UniformValue, Texture>} value
 */
function setUniform(gl, type, location, value) {
  const vector = /** @type {Float32Array | number[]} */ (value);
  if (type === gl.FLOAT) gl.uniform1f(location, Number(value));
  else if (type === gl.FLOAT_VEC2) gl.uniform2fv(location, vector);
  else if (type === gl.FLOAT_VEC3) gl.uniform3fv(location, vector);
  else if (type === gl.FLOAT_VEC4) gl.uniform4fv(location, vector);
  else gl.uniform1i(location, Number(value)); // int and bool
}
