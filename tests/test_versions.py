"""What a report of a problem should say, and how public names go."""

from __future__ import annotations

import json
import tomllib
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from test_architecture import run_python
from test_cli import in_process

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.deprecation import deprecated, renamed_option
from pevm_numba.errors import BlockError
from pevm_numba.versions import EXTRAS, REQUIRED

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    """``numba`` of ``numba>=0.61``, ``dask`` of ``dask[distributed]>=1``."""
    return requirement.split(">")[0].split("[")[0].strip()


# -------------------------------------------------------------------- versions


def test_every_dependency_and_extra_of_the_project_is_listed() -> None:
    assert {*REQUIRED} == {*map(name_of, PROJECT["dependencies"]), "llvmlite"}
    extras = {extra: {*map(name_of, needs)} for extra, needs in PROJECT["optional-dependencies"].items() if extra != "test"}
    assert {extra: {*names} for extra, names in EXTRAS.items() if extra != "data frames"} == extras


def test_versions_are_those_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pn.versions()
    assert found["pevm-numba"] == pn.__version__ == PROJECT["version"]
    assert found["packages"] == {name: version(name) for name in REQUIRED}

    def missing(name: str) -> str:
        if name == "rlp":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setitem(pn.versions.__globals__, "version", missing)
    assert pn.versions()["extras"]["access"] == {"rlp": None}


def test_machine_threads_and_cache_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pn.versions()
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory_bytes"] > 2**28
    assert found["threads"] >= 1
    monkeypatch.delattr("os.sysconf")
    assert pn.versions()["machine"]["memory_bytes"] is None


def test_asking_starts_no_thread_and_compiles_nothing(tmp_path: Path) -> None:
    code = (
        "import pevm_numba as pn\nfound = pn.versions()\nfrom pevm_numba._kernels import jit\n"
        "print(jit.started(), jit.dispatchers_with_code(), found['threading_layer'], found['kernels_kept'])\n"
        "print(found['kernel_cache'])"
    )
    first, second = run_python(code, PEVM_NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert first == "False [] not started: default True"
    assert Path(second).parent == tmp_path


def test_the_threading_layer_in_use_is_named() -> None:
    code = "import numba, pevm_numba as pn\nnumba.set_num_threads(1)\nfrom numba.np.ufunc.parallel import _launch_threads\n"
    code += "_launch_threads()\nprint(pn.versions()['threading_layer'])"
    assert run_python(code).strip() in {"omp", "tbb", "workqueue"}


def test_versions_are_shown_and_returned(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    returned = pn.show_versions()
    shown = capsys.readouterr().out
    assert returned == pn.versions()
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert lines["pevm-numba"] == pn.__version__
    assert lines["numba"] == version("numba")
    assert lines["[access]"] == f"rlp {version('rlp')}"
    command = in_process(cli.main, monkeypatch, capsys)
    assert command("versions") == (0, shown, "")
    assert json.loads(command("versions", "--json").out) == returned
    assert capsys.readouterr().out == ""


# -------------------------------------------------------------------- deprecation


@deprecated("pevm_numba.twice", since="0.3", removed_in="0.5", use="pevm_numba.double")
def twice(number: int) -> int:
    """Two times a number."""
    return 2 * number


@renamed_option("pevm_numba.run", "threads", "workers", since="0.3", removed_in="0.5")
def run(*, workers: int = 1) -> int:
    """How many workers there would be."""
    return workers


def test_a_deprecated_name_works_and_says_since_when_until_when_and_what_instead() -> None:
    wanted = r"^pevm_numba\.twice is deprecated since 0\.3 and will be removed in 0\.5: use pevm_numba\.double$"
    with pytest.warns(DeprecationWarning, match=wanted) as said:
        assert twice(4) == 8
    assert said[0].filename == __file__
    assert (twice.__name__, twice.__doc__) == ("twice", "Two times a number.")


def test_a_renamed_option_is_taken_under_its_old_name_with_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (run(), run(workers=3)) == (1, 3)
    with pytest.warns(DeprecationWarning, match=r"pevm_numba\.run\(threads=\) .* removed in 0\.5: use workers=$") as said:
        assert run(threads=5) == 5
    assert said[0].filename == __file__
    with pytest.raises(BlockError, match="threads and workers: must be one of them"):
        run(threads=5, workers=5)


# -------------------------------------------------------------------- completion


def console_script(*words: str, **environment: str) -> str:
    """What the console script prints."""
    code = f"import sys; sys.argv = {['/usr/bin/' + cli.PROGRAM, *words]!r}\nfrom pevm_numba.cli import main; main()"
    return run_python(code, **environment)


def test_the_console_script_has_the_name_that_completion_goes_by() -> None:
    assert PROJECT["scripts"] == {cli.PROGRAM: "pevm_numba.cli:main"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_console_script_gives_a_completion_script(shell: str) -> None:
    script = console_script("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"_PEVM_NUMBA_COMPLETE=complete_{shell}" in script
    assert cli.PROGRAM in script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("sch", ["schedule"]), ("ver", ["versions"]), ("schedule --pol", ["--policy"]), ("evm st", ["state-test"]), ("zz", [])],
)
def test_words_are_completed(typed: str, offered: list[str]) -> None:
    words = f"{cli.PROGRAM} {typed}"
    count = str(len(words.split()) - 1)
    said = console_script(COMP_WORDS=words, COMP_CWORD=count, _PEVM_NUMBA_COMPLETE="complete_bash")
    assert said.split() == offered


def test_only_the_console_script_offers_completion() -> None:
    assert "--install-completion" in console_script("--help")
    code = "import sys; sys.argv = ['pevm_numba/__main__.py', '--help']\nfrom pevm_numba.cli import main; main()"
    assert "--install-completion" not in run_python(code)


def test_completing_imports_nothing_heavy() -> None:
    code = (
        f"import os, sys; sys.argv = [{cli.PROGRAM!r}]\nimport pevm_numba.cli\n"
        "try: pevm_numba.cli.main()\nexcept SystemExit: pass\n"
        "print([m for m in ('numba', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    given = {"COMP_WORDS": f"{cli.PROGRAM} sch", "COMP_CWORD": "1", "_PEVM_NUMBA_COMPLETE": "complete_bash"}
    assert run_python(code, **given).split() == ["schedule", "[]"]
