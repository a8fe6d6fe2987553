"""The README and the pages of `docs` tell the truth: Python and commands run, flags exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
from test_cli import in_process

from pevm_numba import cli
from pevm_numba.bench import __main__ as bench

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "docs" / "generated"  # by building the site, from what is tested here and elsewhere
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]
PAGES = [page for page in PAGES if not page.is_relative_to(MADE)]
NAMES = {page: page.relative_to(ROOT).as_posix() for page in PAGES}
TUTORIAL = ROOT / "docs" / "tutorial.md"
GROUPS = ("access", "blobs", "evm", "state")  # commands that have commands
LONG = {"--every": "4000"}  # an option's value in a page, and one that takes seconds

pytestmark = pytest.mark.skipif(not PAGES, reason="no README.md in this checkout")


def fenced(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """Every `python -m pevm_numba…` of the shell and the indented blocks, as words from the module on, without comments."""
    text = page.read_text()
    indented = re.findall(r"^    (python -m pevm_numba.*\n)", text, flags=re.MULTILINE)
    found = []
    for line in "".join([*fenced(text, "sh"), *indented]).replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if len(words) > 2 and words[0].endswith("python") and words[1] == "-m" and words[2].startswith("pevm_numba"):
                found.append(words[2:])
    return found


def everywhere() -> list[list[str]]:
    """The commands of all pages, each once."""
    return [list(words) for words in dict.fromkeys(tuple(words) for page in PAGES for words in commands(page))]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command of the README in this process."""

    def run(module: str, *words: str) -> Any:
        return in_process({"pevm_numba": cli.main, "pevm_numba.bench": bench.main}[module], monkeypatch, capsys)(*words)

    return run


@pytest.fixture
def here(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder with the real blocks beside it."""
    (tmp_path / "shared").symlink_to(shared)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.corpus
@pytest.mark.parametrize("page", [page for page in PAGES if fenced(page.read_text(), "python")], ids=NAMES.get)
def test_the_python_examples_run_in_order(page, here, capsys):
    space: dict[str, Any] = {"__name__": page.stem}
    for number, example in enumerate(fenced(page.read_text(), "python")):
        exec(compile(example, f"{NAMES[page]}, Python example {number}", "exec"), space)
        plt.close("all")  # matplotlib warns of many that are open
    assert capsys.readouterr().err == ""


def test_there_are_commands_for_both_command_lines():
    assert {words[0] for words in commands(PAGES[0])} == {"pevm_numba", "pevm_numba.bench"}


@pytest.mark.parametrize("words", everywhere(), ids=" ".join)
def test_every_flag_of_a_command_is_in_its_help(call, words):
    module, *rest = words
    depth = 2 if module == "pevm_numba" and rest[0] in GROUPS else 1
    name = rest[:depth] if rest and not rest[0].startswith("-") else []
    said = call(module, *([] if name and "/" in name[0] else name), "--help")
    assert said.code == 0
    for flag in (word.split("=")[0] for word in rest if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", said.out), flag


@pytest.mark.corpus
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=NAMES.get)
def test_the_commands_of_a_page_run_in_order(page, here, call):
    mine = [words for words in commands(page) if words[0] == "pevm_numba"]
    for module, *words in mine:
        said = call(module, *(LONG.get(before, word) for before, word in zip(["", *words], words, strict=False)))
        assert (said.code, said.err) == (0, ""), words
        assert said.out


@pytest.mark.corpus
@pytest.mark.skipif(not TUTORIAL.exists(), reason="no docs in this checkout")
def test_the_tutorial_shows_what_its_commands_and_examples_print(here, call, capsys):
    said = "".join(call(*words).out for words in commands(TUTORIAL)[:2])
    space: dict[str, Any] = {"__name__": "tutorial"}
    for example in fenced(TUTORIAL.read_text(), "python"):
        exec(compile(example, TUTORIAL.name, "exec"), space)
    said += capsys.readouterr().out
    inspected, _, printed = fenced(TUTORIAL.read_text(), "text")
    assert [line for line in (inspected + printed).splitlines() if line not in said] == []


def test_links_to_files_lead_somewhere():
    for page in PAGES:
        links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]
        assert [link for link in links if not (page.parent / link).exists()] == [], NAMES[page]


def test_no_placeholder_is_left():
    assert [NAMES[page] for page in PAGES if re.search(r"@@\w+@@|\bTODO\b|\bTBD\b", page.read_text())] == []
