"""The README tells the truth: its Python runs, its commands run, its flags exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from test_cli import in_process

from pevm_numba import cli
from pevm_numba.bench import __main__ as bench

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text() if README.exists() else ""

pytestmark = pytest.mark.skipif(not TEXT, reason="no README.md in this checkout")


def fenced(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Every `python -m pevm_numba…` of the shell blocks, as words from the module's name on, comments left out."""
    found = []
    for line in "".join(fenced("sh")).replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if len(words) > 2 and words[0].endswith("python") and words[1] == "-m" and words[2].startswith("pevm_numba"):
                found.append(words[2:])
    return found


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command of the README in this process."""

    def run(module: str, *words: str) -> Any:
        return in_process({"pevm_numba": cli.main, "pevm_numba.bench": bench.main}[module], monkeypatch, capsys)(*words)

    return run


def test_the_python_examples_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    examples = fenced("python")
    assert examples
    space: dict[str, Any] = {"__name__": "readme"}
    for number, example in enumerate(examples):
        exec(compile(example, f"README.md, Python example {number}", "exec"), space)
    assert capsys.readouterr().err == ""


def test_there_are_commands_for_both_command_lines():
    assert {words[0] for words in commands()} == {"pevm_numba", "pevm_numba.bench"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_flag_of_a_command_is_in_its_help(call, words):
    module, *rest = words
    depth = 2 if module == "pevm_numba" and rest[:1] in (["evm"], ["access"]) else 1
    name = rest[:depth] if rest and not rest[0].startswith("-") else []
    said = call(module, *name, "--help")
    assert said.code == 0
    for flag in (word.split("=")[0] for word in rest if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", said.out), flag


def test_the_commands_that_need_no_other_files_run_in_order(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = [words for words in commands() if words[0] == "pevm_numba" and not any("../" in word for word in words)]
    for words in mine:
        said = call(*words)
        assert (said.code, said.err) == (0, ""), words
        assert said.out
    assert len(mine) >= 3


def test_links_to_files_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_no_placeholder_is_left():
    assert re.findall(r"@@\w+@@|\bTODO\b|\bTBD\b", TEXT) == []
