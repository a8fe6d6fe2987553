"""Kernels that are called by address, compiled by two processes: faster, and the same whatever becomes of the second."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pevm_numba as pn
from pevm_numba._kernels.jit import most_threads

ROOT = Path(pn.__file__).parents[1]

#: Compiles two kernels; prints how many were compiled here, and the log.
TWO = """
import logging, multiprocessing, subprocess, sys
from pevm_numba._kernels import jit
from pevm_numba._kernels.evm import compiling
from pevm_numba._kernels.evm.asking import end_precompile, step
messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
log = logging.getLogger("pevm_numba")
log.addHandler(handler)
log.setLevel(logging.DEBUG)
{before}
compiling.compile_kernels(((step, 1), (end_precompile, 2)))
for kernel in (step, end_precompile):
    assert len(kernel.overloads) == 1
print(jit.was_compiled())
print(*messages, sep="; ")
"""


def compile_two(cache: Path, before: str = "", **environment: str) -> tuple[int, str]:
    """Kernels that a fresh process compiled itself, and what it logged."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PEVM_NUMBA"))}
    env |= {"PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "2", "PEVM_NUMBA_CACHE_DIR": str(cache)} | environment
    command = [sys.executable, "-W", "ignore", "-c", TWO.format(before=before)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    count, _, messages = done.stdout.partition("\n")
    return int(count), messages.strip()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many kernels one process compiles for the two."""
    count, messages = compile_two(tmp_path_factory.mktemp("alone"), NUMBA_NUM_THREADS="1")
    assert messages == ""
    return count


@pytest.mark.skipif(most_threads() < 2, reason="one core: nothing is compiled by a second process")
def test_the_second_process_leaves_its_part_on_disk_and_a_third_compiles_nothing(tmp_path, alone):
    count, messages = compile_two(tmp_path)
    assert "two processes" in messages
    assert messages.endswith("returned 0")
    assert 0 < count < alone
    assert compile_two(tmp_path) == (0, "")


BROKEN = {
    "is not there": ("multiprocessing.set_executable('/nowhere/python')", "no second process"),
    "fails": ("multiprocessing.set_executable('/bin/false')", "returned 1"),
    "does not end": (
        "compiling._GRACE = -3.0\ncompiling.subprocess.Popen = lambda command, popen=subprocess.Popen, **rest: "
        "popen(['sleep', '1000'], **rest)\ncompiling.perf_counter = lambda: 0.0",
        "does not end; kernels compiled by two processes in 0.0 s; the second returned -9",
    ),
    "keeps its kernels elsewhere": ("compiling.os.environ['PEVM_NUMBA_CACHE_DIR'] = 'elsewhere'", "returned 0"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_without_the_second_process_all_is_compiled_here(what, tmp_path, alone, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, told = BROKEN[what]
    if what.startswith("keeps"):  # this process has looked up its own folder by then
        before = f"jit.cache_directory(); {before}"
    count, messages = compile_two(tmp_path / "cache", before)
    assert told in messages
    assert count == alone


def test_where_nothing_can_be_kept_no_second_process_is_started(tmp_path, alone):
    (tmp_path / "file").write_text("no folder")
    count, messages = compile_two(tmp_path / "file")
    assert "second" not in messages
    assert "two processes" not in messages
    assert count == alone
