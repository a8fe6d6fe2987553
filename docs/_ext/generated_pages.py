"""Pages that are made as the site is built, below `docs/generated`: reference, command line, and files from outside `docs`.

Links in the pages are those that GitHub follows, `../README.md` say. What they name outside `docs` gets a page of its own
here, and the links are led there; a link to a file that is not there stays as it is, and MyST complains of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import typer
from docutils import nodes
from reference_subjects import MODULES, SUBJECTS, names_of
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from typer.main import get_command

import pevm_numba as pn

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
OUT = DOCS / "generated"
#: Pages of the checkout that are part of the site, in its order.
PROJECT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")
#: Destination of a Markdown link, without a scheme: path, and anchor if there is one.
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^()\s#]+)(#[^()\s]*)?(?=\))")

#: Folder of a picture that a page outside `docs` names in HTML, for light and dark.
PICTURE = re.compile(r'(?<=src=")docs/gallery/|(?<=srcset=")docs/gallery/')
#: Relative import in an example.
RELATIVE = re.compile(r"^(\s*>>> from )(\.+[\w.]*)( import )")
#: Label of a citation after numpydoc.
CITATION = re.compile(r"\[?R[0-9a-f]{8,}-(\w+)\]?")


# -------------------------------------------------------------------- files from outside


def page_of(path: Path) -> Path | None:
    """Where the site shows a file: itself if it is a page of `docs`, else a generated one; None for a folder or nothing."""
    if not path.is_file() or path.is_relative_to(DOCS):
        return path if path.is_file() else None
    inside = path.relative_to(ROOT)
    if inside.suffix == ".md":
        return OUT / "project" / f"{'_'.join(inside.with_suffix('').parts).lower()}.md"
    return OUT / ("notebooks" if inside.suffix == ".ipynb" else "source") / f"{'_'.join(inside.with_suffix('').parts)}.md"


def with_links_led(text: str, folder: Path, page: Path) -> str:
    """Markdown written for `folder`, with its links as they have to be on `page`."""

    def led(match: re.Match[str]) -> str:
        target = (folder / match[1]).resolve()
        shown = page_of(target) if target.is_relative_to(ROOT) else None
        return match[0] if shown is None else Path(os.path.relpath(shown, page.parent)).as_posix() + (match[2] or "")

    return LINK.sub(led, text)


def linked_files(pages: list[Path]) -> Iterator[Path]:
    """Files outside `docs` that pages link to."""
    for page in pages:
        for match in LINK.finditer(page.read_text(encoding="utf-8")):
            target = (page.parent / match[1]).resolve()
            if target.is_file() and target.is_relative_to(ROOT) and not target.is_relative_to(DOCS):
                yield target


def project_pages() -> dict[Path, str]:
    """README and its kind, as they are."""
    pages = {}
    for name in PROJECT:
        path = ROOT / name
        page = page_of(path)
        if page is None:
            raise ExtensionError(f"{path} is not there: the site shows it")
        text = with_links_led(path.read_text(encoding="utf-8"), path.parent, page)
        pages[page] = PICTURE.sub(f"{os.path.relpath(DOCS / 'gallery', page.parent)}/", text)
    return pages


def notebook_pages() -> dict[Path, str]:
    """Text and code of each notebook, without outputs: the checkout has none."""
    pages = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        parts = []
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        page = OUT / "notebooks" / f"notebooks_{path.stem}.md"
        pages[page] = with_links_led("\n\n".join(parts) + "\n", path.parent, page)
    listed = "\n".join(page.stem for page in pages)
    intro = "Run by a test, shown here without outputs; they are in the folder `notebooks` of the checkout."
    return {**pages, OUT / "notebooks" / "index.md": f"# Notebooks\n\n{intro}\n\n```{{toctree}}\n{listed}\n```\n"}


def source_pages(files: set[Path]) -> dict[Path, str]:
    """A page for each source file that is linked to, with its text."""
    pages = {}
    for path in sorted(files):
        page = OUT / "source" / f"{'_'.join(path.relative_to(ROOT).with_suffix('').parts)}.md"
        language = {".py": "python", ".toml": "toml"}.get(path.suffix, "text")
        shown = os.path.relpath(path, page.parent)
        body = f"```{{literalinclude}} {shown}\n:language: {language}\n:linenos:\n```"
        pages[page] = f"# {path.relative_to(ROOT).as_posix()}\n\n{body}\n"
    listed = "\n".join(page.stem for page in pages)
    text = f"# Sources\n\nFiles that other pages link to.\n\n```{{toctree}}\n{listed}\n```\n"
    return {**pages, OUT / "source" / "index.md": text}


# -------------------------------------------------------------------- reference


def _entry(name: str) -> str:
    """Directive for a public name."""
    kind = "autoclass" if isinstance(getattr(pn, name), type) else "autofunction"
    return f".. {kind}:: pevm_numba.{name}\n"


def reference_pages() -> dict[Path, str]:
    """Public names by subject, and modules that pages name."""
    pages = {}
    names = names_of()
    for subject in SUBJECTS:
        listed = "".join(f"   {name}\n" for name in names[subject.slug])
        entries = "\n".join(_entry(name) for name in names[subject.slug])
        rst = f".. currentmodule:: pevm_numba\n\n.. autosummary::\n   :nosignatures:\n\n{listed}\n{entries}"
        pages[OUT / "api" / f"{subject.slug}.md"] = f"# {subject.title}\n\n{subject.text}\n\n````{{eval-rst}}\n{rst}````\n"
    for name, text in MODULES.items():
        directive = f"````{{eval-rst}}\n.. automodule:: pevm_numba.{name}\n````\n"
        pages[OUT / "api" / f"{name.replace('.', '_')}.md"] = f"# pevm_numba.{name}\n\n{text}\n\n{directive}"
    return pages


# -------------------------------------------------------------------- command lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _commands(command: Any, context: typer.Context, level: int) -> Iterator[str]:
    """Markdown of a command, and of those below it."""
    start = f"{context.find_root().info_name} "
    title = context.command_path.removeprefix(start)
    yield f"{'#' * level} {title}\n\n{command.help}\n"
    records = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    rows = "".join(f"| `{flags}` | {_cell(text)} |\n" for flags, text in records if not flags.startswith("--help"))
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"```text\n{' '.join(usage.split())}\n```\n"
    if rows:
        yield f"| option | what it is |\n| --- | --- |\n{rows}"
    for name in getattr(command, "commands", {}):
        below = command.commands[name]
        yield from _commands(below, typer.Context(below, info_name=name, parent=context), level + 1)


def command_pages() -> dict[Path, str]:
    """Both command lines, from what their help is made of."""
    from pevm_numba import cli
    from pevm_numba.bench import __main__ as bench

    pages = {}
    for module, app in (("pevm_numba", cli.app), ("pevm_numba.bench", bench.app)):
        command = get_command(app)
        context = typer.Context(command, info_name=f"python -m {module}")
        pages[OUT / "cli" / f"{module.replace('.', '_')}.md"] = "\n".join(_commands(command, context, 1))
    return pages


# -------------------------------------------------------------------- building


def write(pages: dict[Path, str]) -> None:
    """Write what has changed and remove what is no longer made, so that a second build reads little again."""
    for page, text in pages.items():
        page.parent.mkdir(parents=True, exist_ok=True)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    for page in OUT.rglob("*.md"):
        if page not in pages:
            page.unlink()


def make_pages(_app: Sphinx) -> None:
    """All generated pages, before Sphinx looks for pages."""
    written = [page for page in DOCS.rglob("*.md") if not page.is_relative_to(OUT)]
    outside = [ROOT / name for name in PROJECT]
    files = {path for path in linked_files([*written, *outside]) if path.suffix not in (".md", ".ipynb")}
    write({**project_pages(), **notebook_pages(), **source_pages(files), **reference_pages(), **command_pages()})


def lead_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links of a page to files outside `docs`, led to the pages that show them."""
    page = Path(app.env.doc2path(docname))
    if page.suffix == ".md" and not page.is_relative_to(OUT):
        source[0] = with_links_led(source[0], page.parent, page)


def skip_field(_app: Sphinx, _what: str, _name: str, member: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out fields of named tuples: the docstring of the tuple has them, their own is "Alias for field number 0"."""
    return True if type(member).__name__ == "_tuplegetter" else None


def absolute_imports(_app: Sphinx, _what: str, name: str, given: Any, _options: Any, lines: list[str]) -> None:
    """Imports of examples, which are relative as all imports within the package, as who uses the package writes them."""
    module = getattr(given, "__module__", None) or name

    def absolute(match: re.Match[str]) -> str:
        return match[1] + resolve_name(match[2], module.rpartition(".")[0]) + match[3]

    lines[:] = [RELATIVE.sub(absolute, line) for line in lines]


def number_citations(_app: Sphinx, doctree: nodes.document) -> None:
    """Show citations as the docstring has them, [1]: numpydoc makes their labels distinct within a page, R412650e3d440-1."""
    for node in list(doctree.findall(nodes.Text)):
        match = CITATION.fullmatch(node.astext())
        if match:
            node.parent.replace(node, nodes.Text(f"[{match[1]}]" if node.astext().startswith("[") else match[1]))


def module_of(_app: Sphinx, module: str, name: str) -> str | None:
    """Keep the source of a module that has a page of its own leading there, also where one of its names is public."""
    home = getattr(getattr(pn, name, None), "__module__", "") if module == "pevm_numba" else ""
    return "pevm_numba" if home.removeprefix("pevm_numba.") in MODULES else None


def copy_gallery(app: Sphinx, error: Exception | None) -> None:
    """Pictures of the gallery, which its page names in HTML, light and dark; Sphinx copies only those in Markdown."""
    if error is None and app.builder.format == "html":
        shutil.copytree(DOCS / "gallery", Path(app.outdir) / "gallery", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", make_pages)
    app.connect("source-read", lead_links)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("autodoc-process-docstring", absolute_imports, priority=400)  # before numpydoc's
    app.connect("doctree-read", number_citations)
    app.connect("viewcode-follow-imported", module_of)
    app.connect("build-finished", copy_gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
