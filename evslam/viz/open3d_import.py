"""Loading Open3D on machines that lack a system library, a display or both."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from types import ModuleType

from evslam.errors import ConfigError


def import_open3d() -> ModuleType:
    """Import Open3D when it is needed, not before.

    Open3D links the system library libusb-1.0, which bare machines lack; the wheel libusb-package carries it.

    Raises:
        ConfigError: Open3D is not installed, or another system library is missing.
    """
    try:
        open3d = importlib.import_module("open3d")
    except ImportError as error:
        if "libusb" not in str(error):
            raise _explained(error) from None
        open3d = _import_with_libusb_wheel()
    open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
    return open3d


def _import_with_libusb_wheel() -> ModuleType:
    try:
        libusb_package = importlib.import_module("libusb_package")
        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        raise _explained(error) from None


def _explained(error: Exception) -> ConfigError:
    return ConfigError(
        f"Open3D cannot be loaded ({error}): install it with `pip install open3d-cpu libusb-package`, and on a bare "
        "Linux machine its system libraries with `apt-get install libgl1 libegl1 libx11-6`"
    )


def has_display() -> bool:
    """Tell whether a window can be opened."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def require_display() -> None:
    """Make sure that a window can be opened.

    Raises:
        ConfigError: there is no display.
    """
    if not has_display():
        raise ConfigError(
            "no display: neither DISPLAY nor WAYLAND_DISPLAY is set; write a picture instead with "
            "`evslam view RUN_DIR --save PNG`, run without --view, or connect with `ssh -X`"
        )
