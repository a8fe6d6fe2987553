"""The site of `docs`: it builds without a warning, shows every public name and command, and all its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from typer.main import get_command

import pevm_numba as pn
from pevm_numba import cli
from pevm_numba.bench import __main__ as bench
from pevm_numba.io.parquet_tables import block_schema, header_table, state_schema
from pevm_numba.io.trace_companions import _TRANSACTION_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NEEDED = ("sphinx", "furo", "myst_parser", "numpydoc")
MISSING = [name for name in NEEDED if find_spec(name) is None]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="no docs in this checkout")
needs_sphinx = pytest.mark.skipif(bool(MISSING), reason=f"not installed, extra docs: {', '.join(MISSING)}")


def sphinx(source: Path, target: Path, builder: str) -> subprocess.CompletedProcess[str]:
    """Build as `.ci/docs` does, in a process of its own: its warnings are not ours."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, env={**os.environ, "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    target = tmp_path_factory.mktemp("site")
    done = sphinx(DOCS, target, "html")
    assert (done.returncode, done.stderr) == (0, "")
    return target


class Page(HTMLParser):
    """Anchors and links of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        if tag in ("a", "img"):
            self.links.append(given.get("href" if tag == "a" else "src") or "")

    def inside(self) -> Iterator[tuple[str, str]]:
        """Links within the site: path, which is empty for this page, and anchor."""
        for link in self.links:
            if not urlsplit(link).scheme:
                yield tuple(unquote(part) for part in urldefrag(link))  # type: ignore[misc]  # two parts: path and anchor


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


@needs_sphinx
def test_every_public_name_has_an_anchor_in_the_reference(pages: dict[Path, Page]) -> None:
    anchors = {anchor for path, page in pages.items() if path.parent.name == "api" for anchor in page.anchors}
    names = [name for name in pn.__all__ if name != "__version__"]
    assert len(names) > 50
    assert [name for name in names if f"pevm_numba.{name}" not in anchors] == []


@needs_sphinx
def test_every_page_is_reached_from_the_first_one(site: Path, pages: dict[Path, Page]) -> None:
    seen, left = set(), [site / "index.html"]
    while left:
        path = left.pop()
        if path in pages and path not in seen:
            seen.add(path)
            left += [(path.parent / link).resolve() for link, _ in pages[path].inside() if link]
    written = {site / path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert len(written) > 40
    assert written - seen == set()


@needs_sphinx
def test_links_and_pictures_of_the_site_lead_to_files_and_anchors_that_are_there(pages: dict[Path, Page]) -> None:
    wrong = []
    for path, page in pages.items():
        for link, anchor in page.inside():
            target = (path.parent / link).resolve() if link else path
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                wrong.append((path.name, link, anchor))
    assert wrong == [], wrong


@needs_sphinx
def test_examples_import_as_a_user_does(site: Path) -> None:
    shown = re.sub(r"<[^>]+>", "", (site / "generated" / "api" / "executing.html").read_text(encoding="utf-8"))
    assert "from pevm_numba.storage.memory import MemoryStore" in shown
    assert not re.search(r"&gt;&gt;&gt; from \.", shown)


@needs_sphinx
def test_links_to_files_outside_docs_stay_in_the_site(site: Path) -> None:
    text = (site / "evm.html").read_text(encoding="utf-8")
    assert 'href="generated/source/pevm_numba_execute_machine.html"' in text
    assert 'href="generated/project/readme.html#figures"' in (site / "executors.html").read_text(encoding="utf-8")
    assert 'href="../../evm.html#figures"' in (site / "generated" / "project" / "readme.html").read_text(encoding="utf-8")


@needs_sphinx
@pytest.mark.parametrize(("module", "app"), [("pevm_numba", cli.app), ("pevm_numba.bench", bench.app)])
def test_every_command_and_option_is_in_the_reference(site: Path, module: str, app: Any) -> None:
    text = (site / "generated" / "cli" / f"{module.replace('.', '_')}.html").read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]+>", "", text)

    def walk(command: Any, name: str) -> None:
        assert f">{name or f'python -m {module}'}<a" in text, name
        for parameter in command.params:
            for flag in (flag for flag in parameter.opts if flag.startswith("--")):
                assert flag in shown, (name, flag)
        for below, one in getattr(command, "commands", {}).items():
            walk(one, f"{name} {below}".strip())

    walk(get_command(app), "")


@needs_sphinx
def test_broken_links_and_pages_in_no_table_of_contents_are_errors(tmp_path: Path) -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (tmp_path / name).write_text("# One\n\n[gone](docs/nowhere.md)\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("# Data\n")
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(DOCS / "_ext", tmp_path / "docs" / "_ext")
    shutil.copytree(DOCS / "_static", tmp_path / "docs" / "_static")
    shutil.copy(DOCS / "conf.py", tmp_path / "docs")
    links = "[no anchor](../README.md#nothing) [no file](../pevm_numba/nothing.py) [fine](../data/README.md)"
    (tmp_path / "docs" / "index.md").write_text(f"# First\n\n{links}\n")
    said = sphinx(tmp_path / "docs", tmp_path / "out", "dummy")
    assert said.returncode != 0
    assert "nowhere.md" in said.stderr
    assert "nothing" in said.stderr
    assert "../pevm_numba/nothing.py" in said.stderr
    assert re.search(r"readme\.md.*isn't included in any toctree", said.stderr)
    assert not any("data_readme" in line and "xref" in line for line in said.stderr.splitlines())


def row(page: Path, first: str) -> list[str]:
    """Cells of the one row of a table that begins with `first`."""
    lines = [line for line in page.read_text().splitlines() if line.startswith(f"| {first} |")]
    assert len(lines) == 1, (page.name, first)
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


def test_the_columns_of_block_files_are_those_that_are_written() -> None:
    page = DOCS / "howto" / "dataframes.md"
    schemas = {"real": block_schema(), "real.blocks": header_table([]).schema, "real.state": state_schema()}
    for name, schema in schemas.items():
        listed = re.sub(r" \(.*?\)", "", row(page, f"`{name}.parquet`")[2]).split(", ")
        assert listed == schema.names, name


def test_the_columns_of_transactions_that_cryo_has_to_collect_are_those_that_are_read() -> None:
    assert row(DOCS / "howto" / "cryo.md", "`transactions`")[1].split(", ") == list(_TRANSACTION_COLUMNS)
