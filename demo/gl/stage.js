// A WebGL2 context with programs, textures and targets. Everything off the canvas has its first row at the top.

const VERTEX = `#version 300 es
out vec2 uv;
void main() {
  uv = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(uv * 2.0 - 1.0, 0, 1);
}`;

export class StageError extends Error {}

export class Stage {
  constructor(canvas) {
    const gl = canvas.getContext('webgl2', {antialias: false, depth: false, alpha: true, preserveDrawingBuffer: true});
    if (!gl) throw new StageError('This browser offers no WebGL 2, which the demo draws with.');
    if (!gl.getExtension('EXT_color_buffer_float') && !gl.getExtension('EXT_color_buffer_half_float')) {
      throw new StageError('This graphics driver cannot draw into 16-bit float textures, which depth of field needs.');
    }
    Object.assign(this, {canvas, gl, programs: new Map()});
    gl.bindVertexArray(gl.createVertexArray());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  }

  // fragment: GLSL without its version line. Made once a source.
  program(fragment) {
    if (!this.programs.has(fragment)) this.programs.set(fragment, new Program(this.gl, fragment));
    return this.programs.get(fragment);
  }

  // source: a canvas, ImageBitmap or {data, width, height} with Uint8 (RGBA) or Float32 (four channels) values.
  texture(source, {filter = 'LINEAR'} = {}) {
    const {gl} = this;
    const texture = gl.createTexture();
    const {width, height, data} = source;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    if (data instanceof Float32Array)
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, width, height, 0, gl.RGBA, gl.FLOAT, data);
    else if (data) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, data);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, source);
    this.sample(filter);
    return {texture, width, height};
  }

  sample(filter) {
    const {gl} = this;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl[filter]);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter === 'NEAREST' ? gl.NEAREST : gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  }

  // A framebuffer with `count` textures of RGBA8 or RGBA16F; with `mips`, room for all smaller copies.
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

  // Fills `target` (null: the canvas) with a program. uniforms: numbers, arrays, or things with a texture.
  draw(fragment, uniforms, target = null) {
    const {gl} = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, target?.framebuffer ?? null);
    const {width, height} = target ?? this.canvas;
    gl.viewport(0, 0, width, height);
    this.program(fragment).use(uniforms);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    if (target?.mips) {
      target.textures.forEach(({texture}) => {
        gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.generateMipmap(gl.TEXTURE_2D);
      });
    }
  }

  // RGBA bytes (or floats, of a float target), first row on top.
  read(target, {x = 0, y = 0, width = target.width, height = target.height, float = false} = {}) {
    const {gl} = this;
    const data = float ? new Float32Array(width * height * 4) : new Uint8ClampedArray(width * height * 4);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
    gl.readPixels(x, y, width, height, gl.RGBA, float ? gl.FLOAT : gl.UNSIGNED_BYTE, data);
    return data;
  }

  free(...things) {
    const {gl} = this;
    for (const thing of things.filter(Boolean)) {
      if (thing.framebuffer) gl.deleteFramebuffer(thing.framebuffer);
      (thing.textures ?? [thing]).forEach(({texture}) => gl.deleteTexture(texture));
    }
  }
}

class Program {
  constructor(gl, fragment) {
    Object.assign(this, {gl, program: gl.createProgram(), places: new Map()});
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, `#version 300 es\nprecision highp float;\n${fragment}`],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
        throw new StageError(gl.getShaderInfoLog(shader));
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost())
      throw new StageError(gl.getProgramInfoLog(this.program));
    for (let index = 0; index < gl.getProgramParameter(this.program, gl.ACTIVE_UNIFORMS); index++) {
      const {name, type} = gl.getActiveUniform(this.program, index);
      this.places.set(name.replace('[0]', ''), {type, at: gl.getUniformLocation(this.program, name)});
    }
  }

  use(uniforms) {
    const {gl} = this;
    gl.useProgram(this.program);
    let unit = 0;
    for (const [name, {type, at}] of this.places) {
      const value = uniforms[name];
      if (value === undefined) throw new StageError(`uniform ${name} has no value`);
      if (type === gl.SAMPLER_2D) {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_2D, value.texture);
        gl.uniform1i(at, unit++);
      } else if (type === gl.FLOAT) gl.uniform1f(at, value);
      else if (type === gl.FLOAT_VEC2) gl.uniform2fv(at, value);
      else if (type === gl.FLOAT_VEC3) gl.uniform3fv(at, value);
      else if (type === gl.FLOAT_VEC4) gl.uniform4fv(at, value);
      else gl.uniform1i(at, Number(value)); // int and bool
    }
    gl.activeTexture(gl.TEXTURE0);
  }
}
