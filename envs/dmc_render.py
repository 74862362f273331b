"""Fast rendering of a MuJoCo model: no shadows, no reflections, no oversampling.

Without a GPU, dm_control's own settings render 64x64 pixels several times slower
(benchmarks/results/dmc_speed.md). Published results from pixels keep shadows and oversampling, so
these images are plainer than theirs. MUJOCO_GL selects the library, egl or osmesa; if it is unset,
egl is used if installed, else osmesa.
"""

from __future__ import annotations

import atexit
import ctypes.util
import importlib
import os
import weakref
from typing import Any

import numpy as np

from common import UserError

SHADOW_MAP = 256  # pixels; allocated even though shadows are off
MAX_GEOMS = 10_000  # per scene
GL_PACKAGES = {"egl": "libegl1 libegl-mesa0 libgl1-mesa-dri", "osmesa": "libosmesa6"}
GL_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


class Renderer:
    """Renders one model from one camera at a fixed size."""

    def __init__(self, model: Any, size: int, camera: int) -> None:
        """Create the graphics context.

        Args:
          model: MuJoCo's MjModel; its rendering quality is changed.
          size: pixels along one edge.
          camera: camera index; -1 for the free camera.
        Raises:
          UserError: if there is no graphics library; the message names the packages to install.
        """
        self.gl = gl_context(size)
        self.mujoco = mujoco = importlib.import_module("mujoco")
        self.model = model
        quality, view = model.vis.quality, model.vis.global_
        quality.shadowsize, quality.offsamples = SHADOW_MAP, 0
        view.offwidth = view.offheight = size
        self.scene = mujoco.MjvScene(model, MAX_GEOMS)
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self.camera, self.option = mujoco.MjvCamera(), mujoco.MjvOption()
        mujoco.mjv_defaultFreeCamera(model, self.camera)
        if camera >= 0:
            self.camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            self.camera.fixedcamid = camera
        self.gl.make_current()
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.viewport = mujoco.MjrRect(0, 0, size, size)
        self.pixels = np.zeros((size, size, 3), np.uint8)
        atexit.register(_close, weakref.ref(self))  # runs before EGL's own exit handler

    def __call__(self, data: Any) -> np.ndarray:
        """Render MuJoCo's MjData as an image, uint8 (size, size, 3)."""
        mujoco, everything = self.mujoco, self.mujoco.mjtCatBit.mjCAT_ALL
        self.gl.make_current()
        mujoco.mjv_updateScene(
            self.model, data, self.option, None, self.camera, everything, self.scene
        )
        mujoco.mjr_render(self.viewport, self.scene, self.context)
        mujoco.mjr_readPixels(self.pixels, None, self.viewport, self.context)
        return self.pixels[::-1].copy()  # OpenGL's rows run from bottom to top

    def upload_terrain(self) -> None:
        """Upload height fields, which a new episode may have changed."""
        if self.model.nhfield:
            self.gl.make_current()
            for index in range(self.model.nhfield):
                self.mujoco.mjr_uploadHField(self.model, self.context, index)

    def close(self) -> None:
        """Free the graphics context."""
        self.gl.make_current()
        self.context.free()
        self.gl.free()


def _close(reference: weakref.ref[Renderer]) -> None:
    """Close a renderer that is still open when the interpreter exits."""
    renderer = reference()
    if renderer is not None:
        renderer.close()


def gl_context(size: int) -> Any:
    """Create a context of the library that `gl_library` selects, for images of `size` pixels.

    Raises:
      UserError: if that library cannot create one.
    """
    name = gl_library()
    try:
        return importlib.import_module(f"mujoco.{name}").GLContext(size, size)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        raise UserError(
            f"expected {name} to make a graphics context for pixels, received: {error}; apt "
            f"install {GL_PACKAGES[name]}, or set MUJOCO_GL to the other one, egl or osmesa"
        ) from error


def gl_library() -> str:
    """The graphics library, egl or osmesa: the one MUJOCO_GL names, else the first installed.

    Raises:
      UserError: if none is installed, or MUJOCO_GL has another value.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower()
    if asked in GL_LIBRARIES:
        return asked
    if asked:
        raise UserError(
            f"expected MUJOCO_GL egl, osmesa or unset for pixels, received {asked!r}; unset it"
        )
    for name, library in GL_LIBRARIES.items():
        if ctypes.util.find_library(library):
            return name
    raise UserError(
        "expected a graphics library for pixels, received none: apt install "
        f"{GL_PACKAGES['egl']} (egl), or {GL_PACKAGES['osmesa']} (osmesa, without a GPU)"
    )
