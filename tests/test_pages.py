"""The README and the pages of `docs` tell the truth: Python and commands run, flags exist, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from test_cli import in_process

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.bench import __main__ as bench

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "docs" / "generated"  # by building the site, from what is tested here and elsewhere
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if page.exists()]
PAGES = [page for page in PAGES if not page.is_relative_to(MADE)]
NAMES = {page: page.relative_to(ROOT).as_posix() for page in PAGES}
TUTORIAL = ROOT / "docs" / "tutorial.md"
SURVEY = ROOT / "docs" / "survey.md"
GROUPS = ("access", "blobs", "evm", "state")  # commands that have commands
LONG = {"--every": "4000"}  # an option's value in a page, and one that takes seconds
BENCH = "pevm_numba.bench"
# what makes a benchmark of a page small: options in place of its own, and few of the real blocks;
# and what more where there are some
SMALL = {
    "": ["--repeat", "1"],
    "corpus": [],
    "schedule": ["--n", "100", "--repeat", "1"],
    "optimum": ["--time-limit", "0.05"],
    "executors": ["--n", "300", "--rounds", "1", "--work", "5", "--cases", "independent"],
    "scaling": ["--n", "300", "--rounds", "1", "--work", "5", "--workers", "1,2", "--cases", "independent"],
    "evm": ["--rounds", "1"],
    "engines": ["--n", "200", "--rounds", "1"],
    "access": ["--rounds", "1"],
    "predict": ["--rounds", "1"],
    "storage": ["--sizes", "2e3", "--rounds", "1", "--chain-rounds", "1"],
    "survey": ["--n-blocks", "60", "--n", "20", "--rounds", "1"],
    "dispute": ["--preset", "small", "--games", "1", "--rounds", "1"],
}
WITH_BLOCKS = {
    "executors": ["--cases", "corpus"], "scaling": ["--cases", "corpus"], "storage": ["--blocks", "12300570"],
}  # fmt: skip
FEW = {12300570, 19923400, 19932148}
PLACEHOLDER = re.compile(r"\b[A-Z]{4,}\b|…|://|>")

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


def benchmarks() -> list[list[str]]:
    """Benchmarks of all pages, in blocks and in the text, each once."""
    found = [words[1:] for words in everywhere() if words[0] == BENCH]
    for page in PAGES:
        for said in re.findall(rf"`python -m {BENCH}( [^`]*)?`", page.read_text()):
            if not PLACEHOLDER.search(said):
                found.append(shlex.split(said))
    return list({tuple(small(words)): words for words in reversed(found)}.values())


def kind(words: list[str]) -> str:
    """The subcommand of a benchmark."""
    return words[0] if words and not words[0].startswith("-") else ""


def small(words: list[str]) -> list[str]:
    """A benchmark that takes a second or some."""
    more = SMALL[kind(words)] + (WITH_BLOCKS.get(kind(words), []) if words[1:] and words[1].startswith("..") else [])
    kept, left = list[str](), iter("large" if word == "huge" else word for word in words)
    for word in left:
        if word.startswith("--") and word in more:
            next(left)
        else:
            kept.append(word)
    return kept + more


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


@pytest.fixture
def few(shared: Path, here: None, tmp_path: Path) -> None:
    """The same with few of the real blocks, and one that was generated."""
    (tmp_path / "shared").unlink()
    (tmp_path / "shared").mkdir()
    for entry in shared.iterdir():
        if entry.name != "corpus":
            (tmp_path / "shared" / entry.name).symlink_to(entry)
    for entry in (shared / "corpus").rglob("*.parquet"):
        number = re.search(r"__(\d+)_to_", entry.name)
        if number is None or int(number[1]) in FEW:
            place = tmp_path / "shared" / "corpus" / entry.relative_to(shared / "corpus")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(entry)
    headers = tmp_path / "shared" / "corpus" / "state" / "ethereum__headers.parquet"
    known = pq.read_table(headers)
    headers.unlink()
    pq.write_table(known.filter(pc.is_in(known["block_number"], pa.array(FEW, known["block_number"].type))), headers)


def test_every_benchmark_is_on_a_page():
    assert {kind(words) for words in benchmarks()} == {"", *(one.name for one in bench.app.registered_commands)} == set(SMALL)


@pytest.mark.corpus
@pytest.mark.parametrize("words", benchmarks(), ids=" ".join)
def test_the_benchmarks_of_the_pages_run_in_small_form(few, call, monkeypatch, words):
    monkeypatch.setattr("pevm_numba.bench.scheduling._LARGE", (2_000, 3_000))
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # before each measurement of memory: seconds among all tests' objects
    if "block.parquet" in words:
        assert call("pevm_numba", "generate", "--n-tx", "50", "--output", "block.parquet").code == 0
    Path("docs").mkdir()
    said = call(BENCH, *small(words), *([] if "--json" in words else ["--json", "rows.json"]))
    assert said.code == 0, said.err
    assert said.out
    (rows,) = (json.loads(path.read_text()) for path in Path().glob("*.json") if path.name != "plan.json")
    assert rows
    assert all(row.get("verified", True) for row in rows)
    for made in (after for before, after in pairwise(words) if before in ("--html", "--json", "--chart")):
        assert Path(made).stat().st_size > 1_000


# commands in running text: what is added to their words, None if others say what they come to
IN_TEXT = {
    "pevm-numba --install-completion": ["bash"],
    "python -m pevm_numba evm generate": ["--n-tx", "20", "--output", "made.json", "--prestate", "before.json"],
    "python -m pevm_numba evm state-test ../shared/state_tests/GeneralStateTests.zip": [],
    "python -m pevm_numba execute --schedule plan.json": ["--input", "block.parquet"],
    "python -m pevm_numba generate --blob-ratio": ["0.1", "--n-tx", "20", "--output", "blobs.parquet"],
    "python -m pevm_numba versions": [],
    "python -m pevm_numba.bench.ceiling ../shared/ceiling": ["--rounds", "1", "--repeat", "3"],
    "python -m pevm_numba.plot.gallery --output docs/gallery --corpus ../shared/corpus": None,  # test_plot_gallery
}


def test_every_command_in_the_text_is_known():
    command = re.compile(r"`((?:python -m )?pevm[-_]numba[^`\n]* [^`\n]*)`")
    found = (text for page in PAGES for text in command.findall(page.read_text()))
    assert {text for text in found if not PLACEHOLDER.search(text) and f"-m {BENCH} " not in f"{text} "} == set(IN_TEXT)


@pytest.mark.corpus
@pytest.mark.parametrize("text", [text for text, more in IN_TEXT.items() if more is not None])
def test_a_command_in_the_text_runs(few, call, tmp_path, text):
    if "state_tests" in text:  # which are thousands
        link = tmp_path / "shared" / "state_tests"
        whole = link.resolve() / "GeneralStateTests.zip"
        link.unlink()
        link.mkdir()
        with zipfile.ZipFile(whole) as given, zipfile.ZipFile(link / whole.name, "w") as made:
            for name in given.namelist()[:5]:
                made.writestr(name, given.read(name))
    if "plan.json" in text:
        assert call("pevm_numba", "generate", "--n-tx", "50", "--output", "block.parquet").code == 0
        assert call("pevm_numba", "schedule", "--input", "block.parquet", "--output", "plan.json").code == 0
    words = [sys.executable, *shlex.split(text)[1:], *IN_TEXT[text]]
    if text.startswith("pevm-numba"):
        words[1:1] = ["-c", "import sys; sys.argv[0] = 'pevm-numba'; from pevm_numba.cli import main; main()"]
    around = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "PYTHONPATH": str(ROOT)}
    around |= {"HOME": str(tmp_path)} if text.startswith("pevm-numba") else {}  # where it writes
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | around, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_tests_that_the_pages_name_are_there():
    """They run with all others; what a page selects of a file must be something."""
    found = [said for page in PAGES for said in re.findall(r"python -m pytest ([^`\n]*)", page.read_text())]
    assert found
    for words in map(shlex.split, found):
        assert all((ROOT / word).is_file() for word in words if word.startswith("tests/")), words
        if "-k" in words:
            asked = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *words]
            done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300)
            assert (done.returncode, "::test_" in done.stdout) == (0, True), done.stdout


def listening(port: int) -> bool:
    """Whether somebody on this machine answers there."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not SURVEY.exists(), reason="no docs in this checkout")
def test_the_cluster_of_the_survey_page_works(tmp_path):
    """Its commands, with this machine for the scheduler's and a folder for the bucket."""
    (given,) = (block for block in fenced(SURVEY.read_text(), "text") if block.startswith("dask scheduler"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    said = given.replace("8786", port).replace("scheduler:", "127.0.0.1:").replace("s3://bucket", f"file://{tmp_path}")
    scheduler, worker, survey = (shlex.split(line.rstrip("& ")) for line in said.splitlines())
    (tmp_path / "blocks").mkdir()
    for number in (1, 2):
        pn.write_blocks(tmp_path / "blocks" / f"{number}.parquet", pn.generate("small", number=number))
    around = os.environ | {"PYTHONPATH": str(ROOT)}
    dask = str(Path(sys.executable).with_name("dask"))
    at_ease: dict[str, Any] = {"env": around, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    cluster = [subprocess.Popen([dask, *scheduler[1:], "--no-dashboard"], **at_ease)]
    try:
        cluster.append(subprocess.Popen([dask, *worker[1:], "--no-dashboard"], **at_ease))
        until = time.monotonic() + 120
        while not listening(int(port)):  # as a person waits before the next line
            assert time.monotonic() < until
            time.sleep(0.2)
        done = subprocess.run([sys.executable, *survey[1:]], capture_output=True, text=True, env=around, timeout=300)
        assert done.returncode == 0, done.stderr
    finally:
        for process in reversed(cluster):
            process.terminate()
            process.wait(60)
    assert len(pn.read_survey(tmp_path / "found").to_arrow()) == 2


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


@pytest.mark.skipif(not TUTORIAL.exists(), reason="no docs in this checkout")
def test_pages_that_list_all_of_something_leave_nothing_out():
    text = "".join(path.read_text() for path in (ROOT / "pevm_numba").rglob("*.py"))
    formats = set(re.findall(r"pevm_numba\.[a-z_]+/\d+", text))
    assert len(formats) > 5
    assert formats - set(re.findall(r"pevm_numba\.[a-z_]+/\d+", (ROOT / "docs" / "compatibility.md").read_text())) == set()
    listed = set(re.findall(r"^\| `bench ?(\w*)` \|", (ROOT / "docs" / "benchmarks.md").read_text(), flags=re.MULTILINE))
    assert listed == {"", *(one.name for one in bench.app.registered_commands)}
    notebooks = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks - set(re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())) == set()


def test_no_placeholder_is_left():
    assert [NAMES[page] for page in PAGES if re.search(r"@@\w+@@|\bTODO\b|\bTBD\b", page.read_text())] == []
