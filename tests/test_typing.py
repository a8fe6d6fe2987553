"""Types as users of the package meet them: what mypy and pyright say of a script, and that names and their homes agree."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_architecture import run_python

import pevm_numba as pn

ROOT = Path(pn.__file__).resolve().parents[1]

SOUND = """
from typing import assert_type

import pevm_numba as pn

block = pn.generate("small", seed=1)
assert_type(block, pn.Block)
evm = pn.generate_evm("mixed")
assert_type(evm, pn.EvmBlock)
access = pn.access_sets(block)
assert_type(access, pn.AccessSets)
plan = pn.schedule(block, "list", workers=4)
assert_type(plan, pn.Schedule)
assert_type(plan.timeline, pn.Timeline | None)
done = pn.execute(block, "waves", schedule=plan)
assert_type(done, pn.Execution)
seen = pn.execute(evm)
assert_type(seen, pn.EvmExecution)
assert_type(done.difference(done), str | None)
assert_type(done.diff(done), pn.ExecutionDiff)
assert_type(seen.diff(seen).transactions, list[int])
assert_type(done.times, pn.TxTimes | None)
assert_type(pn.read_execution("done.parquet", block), pn.Execution)
assert_type(pn.read_execution("done.parquet", evm), pn.EvmExecution)
assert_type(pn.read_block("block.parquet"), pn.Block)
assert_type(pn.bounds(access, workers=2).makespan, float)
assert_type(pn.compare(block), list[pn.Simulation])
assert_type(block.digest(), str)
assert_type(pn.__version__, str)
"""
#: One mistake a line, each of which has to be found.
UNSOUND = """
import pevm_numba as pn
pn.no_such_name
pn.generate(seed="one")
pn.execute(5)
pn.read_execution("done.parquet")
len(pn.execute(pn.generate("small")).times.start)
pn.execute(pn.generate("small")).diff("another")
x: int = pn.schedule(pn.generate("small"))
"""


def mypy_lines(path: Path) -> set[int]:
    """Lines of a script in which mypy finds an error."""
    command = [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", str(path.parent / "cache")]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, env=environment, cwd=path.parent)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [line.split(":") for line in done.stdout.splitlines() if ": error:" in line]
    assert {Path(parts[0]).name for parts in found} <= {path.name}, done.stdout
    return {int(parts[1]) for parts in found}


def pyright_lines(path: Path) -> set[int]:
    """The same of pyright, in an environment that has it."""
    pytest.importorskip("pyright")
    settings = {"include": [path.name], "extraPaths": [str(ROOT)], "pythonVersion": "3.11"}
    (path.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(path.parent)]
    environment = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=path.parent)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return {one["range"]["start"]["line"] + 1 for one in report["generalDiagnostics"] if one["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy_lines, pyright_lines])
def test_a_script_that_uses_the_package_has_the_types_it_should(checker, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SOUND)
    assert checker(script) == set()
    script.write_text(UNSOUND)
    assert checker(script) >= set(range(3, len(UNSOUND.splitlines()) + 1))


def homes_for_checkers() -> dict[str, str]:
    """Name and module of each import under TYPE_CHECKING, as type checkers and editors see them."""
    tree = ast.parse(Path(pn.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    found: dict[str, str] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.level == 1
        (name,) = node.names
        assert name.asname == name.name, "re-exported for type checkers by `as`"
        assert name.name not in found
        found[name.name] = node.module or ""
    return found


def test_checkers_and_users_find_each_name_in_the_same_module() -> None:
    assert homes_for_checkers() == pn._HOMES


def test_every_name_is_at_home_where_it_is_said_to_be() -> None:
    for name, home in pn._HOMES.items():
        value = getattr(pn, name)
        assert value is getattr(importlib.import_module(f"pevm_numba.{home}"), name), name
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__.startswith("pevm_numba."), name
            assert value.__doc__, name


def test_names_are_sorted_and_completed_before_they_are_loaded() -> None:
    assert list(pn._HOMES) == sorted(pn._HOMES)
    assert pn.__all__ == sorted(pn.__all__)
    assert dir(pn) == pn.__all__
    assert set(pn.__all__) == {*pn._HOMES, "__version__"}
    code = "import sys, pevm_numba as pn\nprint('schedule' in dir(pn), 'write_execution' in dir(pn), 'numba' in sys.modules)"
    assert run_python(code).split() == ["True", "True", "False"]
    code = (
        "import rlcompleter, pevm_numba as pn\ncomplete = rlcompleter.Completer({'pn': pn}).complete\n"
        "print(complete('pn.write_ex', 0), complete('pn.write_ex', 1))"
    )
    assert run_python(code).startswith("pn.write_execution")
    code = "from pevm_numba import *\nprint(callable(schedule), callable(execute), __version__)"
    assert run_python(code).split() == ["True", "True", pn.__version__]


def test_types_are_shipped() -> None:
    assert (Path(pn.__file__).parent / "py.typed").is_file()
