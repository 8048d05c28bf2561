"""Imports of third-party libraries without telemetry and without files left behind."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import MissingExtra

# The environment variable that each library reads on import, and the value that disables its telemetry.
SWITCHES = {
    "huggingface_hub": ("HF_HUB_DISABLE_TELEMETRY", "1"),
    "onnxruntime": ("ORT_DISABLE_TELEMETRY", "1"),  # version 1.29 and later, on Linux and macOS
    "ray": ("RAY_USAGE_STATS_ENABLED", "0"),
}


def disable_telemetry(*libraries: str) -> None:
    """Disable the telemetry of libraries that are not imported yet, in this process and its children.

    Parameters
    ----------
    *libraries : str
        Keys of `SWITCHES`.
    """
    os.environ.update(SWITCHES[library] for library in libraries)


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry.

    On import, the wheels for Linux and macOS write a device id to the home folder and start a thread that uploads
    events. The environment variable prevents both. Windows builds have only the function call, which also affects an
    ONNX Runtime that the caller has imported before.
    """
    disable_telemetry("onnxruntime")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    OpenVINO reports each import unless the package openvino_telemetry is missing, so the import of that package is
    blocked meanwhile.

    Raises
    ------
    MissingExtra
        If OpenVINO is not installed.
    """
    blocked = "openvino_telemetry" not in sys.modules and "openvino" not in sys.modules
    if blocked:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # blocks the import
    try:
        import openvino
    except ImportError as error:
        reason = "is not installed" if error.name == "openvino" else f"cannot be imported ({error})"
        raise MissingExtra.of(f"openvino {reason}, but its engine needs it", "openvino") from None
    finally:
        if blocked:
            del sys.modules["openvino_telemetry"]
    return openvino


def import_matplotlib() -> None:
    """Import matplotlib, which on import writes a list of the system's fonts to the home folder.

    If matplotlib has no folder yet, it writes the list to a temporary folder, which is then deleted.
    """
    if "matplotlib" not in sys.modules and not any(folder.is_dir() for folder in _matplotlib_folders()):
        with _temporary_folder_in("MPLCONFIGDIR"):
            import matplotlib.font_manager  # noqa: F401


def import_compiler() -> None:
    """Import PyTorch's compiler without the cache folder that it creates on import.

    Optimizers and the ONNX exporter import the compiler, although nothing is compiled.
    """
    with _temporary_folder_in("TORCHINDUCTOR_CACHE_DIR"), suppress(ImportError):
        import torch._dynamo
        import torch._inductor.compiler_bisector  # noqa: F401  # of PyTorch 2.6 and later


def _matplotlib_folders() -> Iterator[Path]:
    """Yield matplotlib's folders for settings and font lists on all systems."""
    with suppress(RuntimeError):  # no home folder
        home = Path.home()
        yield home / ".matplotlib"
        yield Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache", "matplotlib")
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "matplotlib")
    if folder := os.environ.get("LOCALAPPDATA"):
        yield Path(folder, "matplotlib")


@contextmanager
def _temporary_folder_in(variable: str) -> Iterator[None]:
    """Set an environment variable to a temporary folder, unless it is set; afterward unset it and delete the folder."""
    if variable in os.environ:
        yield
        return
    try:
        folder = tempfile.mkdtemp(prefix="atrous-")
    except OSError:  # without a temporary folder, the library uses its default
        yield
        return
    os.environ[variable] = folder
    try:
        yield
    finally:
        del os.environ[variable]
        shutil.rmtree(folder, ignore_errors=True)
