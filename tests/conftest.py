"""Suite-wide settings. Examples are not timed: machines here are shared, and the first example compiles kernels."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# py-evm's import raises Python's recursion limit to 100,000, with which deep JSON ends the process: undone at once.
_limit = sys.getrecursionlimit()
with contextlib.suppress(ImportError), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eth  # noqa: F401
sys.setrecursionlimit(_limit)

settings.register_profile(
    "quick", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("soak", parent=settings.get_profile("quick"), max_examples=1000)
settings.register_profile("brief", parent=settings.get_profile("quick"), max_examples=15)
settings.register_profile("plain", parent=settings.get_profile("quick"), max_examples=10)
if os.environ.get("NUMBA_DISABLE_JIT") == "1":  # kernels as plain Python: hundreds of times slower
    settings.load_profile("plain")
else:
    settings.load_profile(next((name for name in ("soak", "brief") if os.environ.get(f"PEVM_NUMBA_{name.upper()}")), "quick"))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real blocks and references beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED.name!r} of real blocks beside the checkout")
    return SHARED


@pytest.fixture(scope="module")
def always_parallel() -> Iterator[None]:
    """Share out every EVM block, however small."""
    from pevm_numba.execute import evm_job

    before = evm_job.LEAST_WORK, evm_job.LEAST_GAIN
    evm_job.LEAST_WORK, evm_job.LEAST_GAIN = 0, 0.0
    yield
    evm_job.LEAST_WORK, evm_job.LEAST_GAIN = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests run in the soak only; tests of real blocks need them."""
    for item in items:
        if item.get_closest_marker("soak") and not os.environ.get("PEVM_NUMBA_SOAK"):
            item.add_marker(pytest.mark.skip(reason="long: run with PEVM_NUMBA_SOAK=1, as .ci/soak does"))
        if item.get_closest_marker("corpus") and not (SHARED / "corpus").is_dir():
            item.add_marker(pytest.mark.skip(reason="no folder of real blocks beside the checkout"))
