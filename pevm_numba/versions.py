"""What a report of a problem should say: versions, machine, threads. Asking starts no thread and compiles nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from .metrics import describe_machine

__all__ = ["EXTRAS", "REQUIRED", "show_versions", "versions"]

#: What the package needs, and Numba's compiler.
REQUIRED: Final = ("numba", "llvmlite", "numpy", "scipy", "pyarrow", "rich", "typer")
#: What each extra brings; pandas is none, but results become data frames with it.
EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "access": ("rlp",),
    "blobs": ("ckzg", "eth-account"),
    "evm": ("coincurve", "cryptography", "mclbn256", "py-arkworks-bls12381"),
    "distributed": ("dask", "fsspec"),
    "docs": ("sphinx", "furo", "myst-parser", "numpydoc"),
    "exact": ("ortools",),
    "notebook": ("nbclient", "nbformat", "ipykernel", "matplotlib"),
    "peers": ("networkx", "rustworkx", "igraph", "networkit"),
    "plot": ("matplotlib", "pillow"),
    "storage": ("rocksdict", "lmdb"),
    "wasm": ("wasmtime",),
    "data frames": ("pandas",),
}


def versions() -> dict[str, Any]:
    """Versions of packages, and what there is to run on.

    Returns
    -------
    dict
        ``pevm-numba`` and ``python``: versions. ``packages``: version by name of what is needed. ``extras``: by extra, the
        same of what it brings, None if that is not installed. ``machine``: ``cpu``, ``cores`` that this process may use,
        ``system``, ``machine``; ``memory_bytes``, None if the system does not tell. ``threads``: most threads that Numba
        will use. ``threading_layer``: the one in use, or what Numba is to choose from if it has started none yet.
        ``kernel_cache``: folder of the compiled kernels; ``kernels_kept``: whether they can be written there.

    Examples
    --------
    >>> found = versions()
    >>> sorted(found)[:4], found["packages"]["numba"].count(".")
    (['extras', 'kernel_cache', 'kernels_kept', 'machine'], 2)
    """
    from numba.core import config
    from numba.np.ufunc import threading_layer

    from . import __version__
    from ._kernels import jit

    wanted = config.THREADING_LAYER  # type: ignore[attr-defined]  # made as the module is loaded
    layer = threading_layer() if jit.started() else f"not started: {wanted}"
    return {
        "pevm-numba": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in REQUIRED},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()},
        "machine": describe_machine() | {"memory_bytes": _memory()},
        "threads": jit.most_threads(),
        "threading_layer": layer,
        "kernel_cache": str(jit.cache_directory()),
        "kernels_kept": jit.can_keep(),
    }


def show_versions() -> dict[str, Any]:
    """Print what `versions` finds, for a report of a problem, and return it.

    Examples
    --------
    >>> show_versions()["python"] == platform.python_version()
    pevm-numba       ...
    True
    """
    found = versions()
    for name, text in _lines(found):
        print(f"{name:<15}  {text}")
    return found


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The same in words."""
    machine = found["machine"]
    memory = "unknown" if machine["memory_bytes"] is None else f"{machine['memory_bytes'] / 2**30:.1f} GiB"
    kept = "" if found["kernels_kept"] else " (not writable)"
    return [
        ("pevm-numba", found["pevm-numba"]),
        ("python", found["python"]),
        *((name, text or "not installed") for name, text in found["packages"].items()),
        *((f"[{extra}]", _listed(brought)) for extra, brought in found["extras"].items()),
        ("system", f"{machine['system']} {machine['machine']}, {machine['cpu']}"),
        ("cores", f"{machine['cores']}"),
        ("memory", memory),
        ("threads", f"{found['threads']}"),
        ("threading layer", found["threading_layer"]),
        ("kernel cache", f"{found['kernel_cache']}{kept}"),
    ]


def _listed(brought: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {text}" if text else f"{name} not installed" for name, text in brought.items())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> int | None:
    """Bytes of memory of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
