"""Draw a scene and the people in it into two images: linear light, and distance from the camera."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydramobile.errors import StageError
from reference.render.assets import STAGE, Floats
from reference.render.people import Material, Part
from reference.render.raster import Camera, look, orthographic, perspective
from reference.synthesize.shaders import FRAGMENT, SCENE_FRAGMENT, SHADOW_FRAGMENT, SHADOW_VERTEX, VERTEX

if TYPE_CHECKING:
    import moderngl

# Samples per pixel and axis.
OVERSAMPLING = 2
_SHADOW = 1024
_KEPT_TEXTURES = 256
# Larger textures show no more detail at the sizes that are drawn.
_TEXTURE_SIDE = 512
_NEAR, _FAR = 0.4, 4000.0
_PLAIN = ("gloss", "shininess", "cutoff", "glow", "dye", "bump", "tint", "second", "pattern", "soft")


@dataclass(frozen=True, slots=True)
class Lighting:
    """Three directional lights [3, 3] (unit, towards the light; the first casts shadows) of colors [3, 3].

    `ambient` is the environment as nine spherical harmonics [9, 3], `blur` the softness of shadows as a share of the
    shadow map.
    """

    directions: NDArray[np.float64]
    colors: NDArray[np.float64]
    ambient: NDArray[np.float64]
    blur: float = 0.0015


@dataclass(frozen=True, slots=True)
class Layer:
    """`light` [h, w, 3], linear, and `depth` [h, w], decimetres along the optical axis; 0 where nothing was drawn.

    `normal` [h, w, 3] is in camera space (shaders.py), of people only, and only if the painter was asked for it.
    """

    light: Floats
    depth: Floats
    normal: Floats | None = None


class Painter:
    """One OpenGL context for pictures of `size` = (width, height), with the people's normals if `normals`.

    Raises StageError("render") if moderngl or EGL is not installed.
    """

    def __init__(self, size: tuple[int, int], normals: bool = False) -> None:
        try:
            import moderngl

            # The stub misses the keyword "backend".
            self._gl: moderngl.Context = moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
        except Exception as error:  # a missing package, library and driver raise different types
            raise StageError(STAGE, f"no OpenGL through EGL (scripts/setup.sh render): {error}") from error
        self.size = size
        self._gl.enable(moderngl.DEPTH_TEST)
        self._program = self._gl.program(VERTEX, FRAGMENT)
        self._scene_program = self._gl.program(VERTEX, SCENE_FRAGMENT)
        self._shadow_program = self._gl.program(SHADOW_VERTEX, SHADOW_FRAGMENT)
        self._uniforms = {id(program): frozenset(program) for program in (self._program, self._scene_program)}
        self._shadow = self._gl.depth_texture((_SHADOW, _SHADOW))
        self._shadow.compare_func = "<="
        self._shadow_frame = self._gl.framebuffer(depth_attachment=self._shadow)
        samples = (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING)
        shared = self._gl.depth_renderbuffer(samples)
        self._targets = [
            [self._gl.texture(samples, 4, dtype="f2"), self._gl.texture(samples, 1, dtype="f4")] for _ in range(2)
        ]
        if normals:
            self._targets[0].append(self._gl.texture(samples, 4, dtype="f2"))
        self._frames = [self._gl.framebuffer(target, shared) for target in self._targets]
        # Textures by path, or by the identity of an array that is kept alive beside its texture.
        self._textures: OrderedDict[object, tuple[moderngl.Texture, object]] = OrderedDict()

    def paint(
        self, scene: Sequence[Part], people: Sequence[Part], camera: Camera, light: Lighting, reach: float
    ) -> tuple[Layer, Layer]:
        """Draw (scene, people) at OVERSAMPLING times the size, row 0 at the top.

        Each layer has its visible samples only, so no sample belongs to both. `reach` is half the side of the square
        that the shadow map covers.
        """
        center = camera.target + np.array([0, 0.15 * reach, 0])
        lamp = orthographic(reach, 1.0, 90.0) @ look(center + 45 * light.directions[0], center, 0.0)
        buffers = [self._upload(part) for part in people]
        self._shadow_frame.use()
        self._shadow_frame.clear()
        _write(self._shadow_program, lamp=lamp)
        for part, buffer in zip(people, buffers, strict=True):
            _value(self._shadow_program, "cutoff", part.material.cutoff)
            self._render(self._shadow_program, part, buffer)
        view = look(camera.eye, camera.target, camera.roll)
        projection = perspective(camera.field, self.size[0] / self.size[1], _NEAR, _FAR) @ view
        self._shadow.use(1)
        for program in (self._program, self._scene_program):
            _write(program, camera=projection, view=view, lamp=lamp)
            for name, value in (("directions", light.directions), ("colors", light.colors), ("ambient", light.ambient)):
                _bytes(program, name, value)
            _value(program, "blur", light.blur)
            _value(program, "shadow", 1)
        _bytes(self._program, "eye", camera.eye)
        _bytes(self._scene_program, "eye", camera.eye)
        self._frames[0].use()
        self._frames[0].clear(0, 0, 0, 0)
        for part, buffer in zip(people, buffers, strict=True):
            self._draw(self._program, part, buffer)
            buffer.release()
        self._frames[1].use()
        self._frames[1].depth_mask = False  # keeps the people's depth: the scene is drawn around and in front of them
        self._frames[1].clear(0, 0, 0, 0)
        self._frames[1].depth_mask = True
        for part in reversed(scene):  # later parts are nearer: nearest first draws fewer hidden pixels
            buffer = self._upload(part)
            self._draw(self._scene_program, part, buffer)
            buffer.release()
        front, behind = self._layer(0), self._layer(1)
        hidden = behind.depth > 0
        front.depth[hidden], front.light[hidden] = 0, 0
        if front.normal is not None:
            front.normal[hidden] = 0
        return behind, front

    def _draw(self, program: Any, part: Part, buffer: moderngl.Buffer) -> None:
        for name in _PLAIN:
            if name in self._uniforms[id(program)]:
                program[name].value = getattr(part.material, name)
        self._render(program, part, buffer)

    def _upload(self, part: Part) -> moderngl.Buffer:
        data = np.concatenate([part.vertices, part.normals, part.uv], axis=2, dtype=np.float32)
        return self._gl.buffer(data.tobytes())

    def _render(self, program: Any, part: Part, buffer: moderngl.Buffer) -> None:
        shadow = program is self._shadow_program
        layout = ("3f 12x 2f", "place", "uv") if shadow else ("3f 3f 2f", "place", "normal", "uv")
        array = self._gl.vertex_array(program, [(buffer, *layout)])
        self._texture(part.material).use(0)
        program["image"].value = 0
        array.render()
        array.release()

    def _layer(self, index: int) -> Layer:
        color, depth, *more = self._targets[index]
        width, height = color.size
        light = np.frombuffer(color.read(), np.float16).reshape(height, width, 4)[::-1, :, :3]
        far = np.frombuffer(depth.read(), np.float32).reshape(height, width)[::-1]
        normal = None
        if more:
            normal = np.frombuffer(more[0].read(), np.float16).reshape(height, width, 4)[::-1, :, :3].astype(np.float32)
        return Layer(light.astype(np.float32), np.ascontiguousarray(far), normal)

    def _texture(self, material: Material) -> moderngl.Texture:
        source = material.texture
        key: object = source if isinstance(source, Path) else id(source)
        if key in self._textures:
            self._textures.move_to_end(key)
            return self._textures[key][0]
        image = Image.fromarray(source) if isinstance(source, np.ndarray) else Image.open(source).convert("RGBA")
        if max(image.size) > _TEXTURE_SIDE and not _is_skin(source):
            image.thumbnail((_TEXTURE_SIDE, _TEXTURE_SIDE), reducing_gap=2.0)
        texture = self._gl.texture(image.size, 4, image.tobytes())
        texture.build_mipmaps()
        texture.anisotropy = 2.0
        self._textures[key] = (texture, source)
        if len(self._textures) > _KEPT_TEXTURES:
            self._textures.popitem(last=False)[1][0].release()
        return texture


def _is_skin(source: object) -> bool:
    """Return whether the texture is a skin, which keeps its size: the face is a small part of its area."""
    return isinstance(source, Path) and source.parent.parent.name == "skins"


def _bytes(program: Any, name: str, value: NDArray[np.float64]) -> None:
    program[name].write(value.astype(np.float32).tobytes())


def _value(program: Any, name: str, value: float) -> None:
    program[name].value = value


def _write(program: Any, **matrices: NDArray[np.float64]) -> None:
    for name, matrix in matrices.items():
        program[name].write(matrix.T.astype(np.float32).tobytes())
