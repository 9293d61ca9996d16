"""Draw parts with OpenGL on the CPU or GPU through EGL: textures, three lights, one shadow map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydramobile.errors import StageError
from reference.render.assets import STAGE
from reference.render.people import Material, Part

if TYPE_CHECKING:
    import moderngl

_SHADOW = 2048
# Samples per pixel and axis: edges and hair are averages of 9.
_OVERSAMPLING = 3

_VERTEX = """#version 330
in vec3 place; in vec3 normal; in vec2 uv;
uniform mat4 camera; uniform mat4 light;
out vec3 N; out vec2 T; out vec3 P; out vec4 S;
void main() {
  N = normal; T = vec2(uv.x, 1.0 - uv.y); P = place; S = light * vec4(place, 1.0);
  gl_Position = camera * vec4(place, 1.0);
}"""

_FRAGMENT = """#version 330
in vec3 N; in vec2 T; in vec3 P; in vec4 S;
uniform sampler2D image; uniform sampler2DShadow shadow;
uniform vec3 eye; uniform vec3 directions[3]; uniform vec3 colors[3]; uniform vec3 sky; uniform vec3 earth;
uniform vec3 tint; uniform float gloss; uniform float shininess; uniform float cutoff; uniform float glow;
uniform float dye;
out vec4 result;
float random(vec2 q) { return fract(sin(dot(q, vec2(12.9898, 78.233))) * 43758.5453); }
void main() {
  vec4 texel = texture(image, T);
  if (texel.a < (cutoff < 0.0 ? 0.08 + 0.8 * random(floor(T * 1500.0)) : cutoff)) discard;
  vec3 painted = pow(texel.rgb, vec3(2.2));
  vec3 albedo = mix(painted, vec3(0.08 + dot(painted, vec3(0.3, 0.6, 0.1))), dye) * tint;
  vec3 view = normalize(eye - P);
  vec3 n = normalize(N); if (dot(n, view) < 0.0) n = -n;
  vec3 q = S.xyz / S.w * 0.5 + 0.5;
  float lit = 0.0;
  for (int i = -1; i <= 1; i++) for (int j = -1; j <= 1; j++)
    lit += texture(shadow, vec3(q.xy + vec2(i, j) / 1400.0, q.z - 0.003));
  lit = any(greaterThan(abs(q - 0.5), vec3(0.5))) ? 1.0 : lit / 9.0;
  vec3 light = albedo * mix(earth, sky, n.y * 0.5 + 0.5) + albedo * glow;
  for (int i = 0; i < 3; i++) {
    // Light bends a little around the edge, as it does in skin and cloth.
    float diffuse = max((dot(n, directions[i]) + 0.25) / 1.25, 0.0);
    float mirror = pow(max(dot(n, normalize(view + directions[i])), 0.0), shininess) * step(0.0, dot(n, directions[i]));
    light += (i == 0 ? lit : 1.0) * colors[i] * (albedo * diffuse + gloss * mirror);
  }
  light += sky * gloss * pow(1.0 - max(dot(n, view), 0.0), 3.0);
  result = vec4(pow(light / (1.0 + 0.25 * light), vec3(1.0 / 2.2)), 1.0);
}"""

_SHADOW_VERTEX = """#version 330
in vec3 place; in vec2 uv; uniform mat4 light; out vec2 T;
void main() { T = vec2(uv.x, 1.0 - uv.y); gl_Position = light * vec4(place, 1.0); }"""

_SHADOW_FRAGMENT = """#version 330
in vec2 T; uniform sampler2D image;
void main() { if (texture(image, T).a < 0.5) discard; }"""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera at `eye` that looks at `target` (decimetres); `roll` and the vertical `field` of view in degrees."""

    eye: NDArray[np.float64]
    target: NDArray[np.float64]
    field: float
    roll: float = 0.0


@dataclass(frozen=True, slots=True)
class Light:
    """Three directional lights [3, 3] (unit, towards the light; the first casts shadows), colors [3, 3], ambient.

    The ambient light shades from `earth` below to `sky` above.
    """

    directions: NDArray[np.float64]
    colors: NDArray[np.float64]
    sky: NDArray[np.float64]
    earth: NDArray[np.float64]


class Rasterizer:
    """One OpenGL context. Raises StageError("render") if moderngl or EGL is not installed."""

    def __init__(self) -> None:
        try:
            import moderngl

            # The stub misses the keyword "backend".
            self._gl: moderngl.Context = moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
        except Exception as error:  # a missing package, library and driver raise different types
            raise StageError(STAGE, f"no OpenGL through EGL (pip: moderngl, Debian: libegl1): {error}") from error
        self._gl.enable(moderngl.DEPTH_TEST)
        self._program = self._gl.program(_VERTEX, _FRAGMENT)
        self._shadow_program = self._gl.program(_SHADOW_VERTEX, _SHADOW_FRAGMENT)
        self._shadow = self._gl.depth_texture((_SHADOW, _SHADOW))
        self._shadow.compare_func = "<="
        self._shadow_frame = self._gl.framebuffer(depth_attachment=self._shadow)

    def draw(
        self, parts: Sequence[Part], casting: Sequence[Part], camera: Camera, light: Light, size: tuple[int, int]
    ) -> Image.Image:
        """Draw `parts` in the shadows of `casting` as RGBA of `size` = (width, height).

        Alpha is coverage, color is not premultiplied.
        """
        width, height = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
        center = camera.target * [1, 0.5, 1] + [0, 4, 0]
        lamp = orthographic(22.0, 1.0, 120.0) @ look(center + 60 * light.directions[0], center, 0.0)
        self._shadow_frame.use()
        self._shadow_frame.clear()
        self._write(self._shadow_program, light=lamp)
        for part in casting:
            self._render(self._shadow_program, part)
        color = self._gl.texture((width, height), 4)
        frame = self._gl.framebuffer([color], self._gl.depth_renderbuffer((width, height)))
        frame.use()
        frame.clear(0, 0, 0, 0)
        view = perspective(camera.field, width / height, 0.5, 1500.0) @ look(camera.eye, camera.target, camera.roll)
        self._write(self._program, camera=view, light=lamp)
        self._uniform("eye", camera.eye)
        self._uniform("directions", light.directions)
        self._uniform("colors", light.colors)
        self._uniform("sky", light.sky)
        self._uniform("earth", light.earth)
        self._shadow.use(1)
        self._uniform("shadow", 1)
        for part in parts:
            self._material(part.material)
            self._render(self._program, part)
        pixels = np.frombuffer(color.read(), np.uint8).reshape(height, width, 4)[::-1]
        frame.release()
        color.release()
        # Background samples are transparent black, so the mean is premultiplied ("RGBa").
        mean = pixels.reshape(size[1], _OVERSAMPLING, size[0], _OVERSAMPLING, 4).mean((1, 3))
        return Image.frombytes("RGBa", size, np.round(mean).astype(np.uint8).tobytes()).convert("RGBA")

    def _material(self, material: Material) -> None:
        for name in ("tint", "gloss", "shininess", "cutoff", "glow", "dye"):
            self._uniform(name, getattr(material, name))

    def _render(self, program: Any, part: Part) -> None:
        data = np.concatenate([part.vertices, part.normals, part.uv], axis=2).astype(np.float32)
        buffer = self._gl.buffer(data.tobytes())
        shadow = program is self._shadow_program
        layout = ("3f 12x 2f", "place", "uv") if shadow else ("3f 3f 2f", "place", "normal", "uv")
        array = self._gl.vertex_array(program, [(buffer, *layout)])
        texture = self._texture(part.material)
        texture.use(0)
        program["image"].value = 0
        array.render()
        for resource in (array, buffer, texture):
            resource.release()

    def _texture(self, material: Material) -> moderngl.Texture:
        source = material.texture
        image = Image.fromarray(source) if isinstance(source, np.ndarray) else Image.open(source).convert("RGBA")
        texture = self._gl.texture(image.size, 4, image.tobytes())
        texture.build_mipmaps()
        texture.anisotropy = 4.0
        return texture

    def _uniform(self, name: str, value: Any) -> None:
        member: Any = self._program[name]
        if isinstance(value, np.ndarray):
            member.write(value.astype(np.float32).tobytes())
        else:
            member.value = value

    def _write(self, program: Any, **matrices: NDArray[np.float64]) -> None:
        for name, matrix in matrices.items():
            program[name].write(matrix.T.astype(np.float32).tobytes())


def look(eye: NDArray[np.float64], target: NDArray[np.float64], roll: float) -> NDArray[np.float64]:
    forward = (target - eye) / np.linalg.norm(target - eye)
    angle = np.deg2rad(roll)
    right = np.cross(forward, [np.sin(angle), np.cos(angle), 0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(right, forward), -forward])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def perspective(field: float, aspect: float, near: float, far: float) -> NDArray[np.float64]:
    focal = 1 / np.tan(np.deg2rad(field) / 2)
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = focal / aspect, focal
    matrix[2, 2], matrix[2, 3], matrix[3, 2] = (far + near) / (near - far), 2 * far * near / (near - far), -1
    return matrix


def orthographic(half: float, near: float, far: float) -> NDArray[np.float64]:
    matrix = np.diag([1 / half, 1 / half, -2 / (far - near), 1.0])
    matrix[2, 3] = -(far + near) / (far - near)
    return matrix
