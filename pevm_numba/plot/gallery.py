"""The gallery, `python -m pevm_numba.plot.gallery`: every picture, light and dark, and a page with the lines that make it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .. import console as con
from ..errors import UsageError
from ..io.paths import existing, replacing
from .pictures import PICTURES, Picture
from .style import need_matplotlib

__all__ = ["app", "main", "page", "render"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

#: Style sheets by what the name of a file has more.
_STYLES: Final = {"": ["default"], "-dark": ["default", "dark_background"]}
#: Colours in a file: text and shades look the same with as few, and files take half.
_COLOURS: Final = 224
_DPI: Final = 100
_HEAD: Final = """# Gallery

Every picture of `pevm_numba.plot`, with the lines that make it. All return their matplotlib Axes, take `ax=` (those of
several panels `figure=`, too), and are readable on light and dark backgrounds and in grey. `pip install "pevm-numba[plot]"`.

Written by `{command}`: what is shown is what ran.

```python
from pathlib import Path

import numpy as np
import pevm_numba as pn
from pevm_numba import plot
{corpus}```
"""
_PICTURE: Final = """
## {heading}

{caption}

<picture>
<source media="(prefers-color-scheme: dark)" srcset="{folder}/{name}-dark.png">
<img alt="{heading}" src="{folder}/{name}.png">
</picture>

```python
{lines}
```
"""


def render(picture: Picture, folder: Path, corpus: Path | None = None) -> None:
    """Write a picture as NAME.png and NAME-dark.png: prepared or measured once, drawn twice.

    Parameters
    ----------
    picture : Picture
    folder : Path
        Where the files go; it must exist.
    corpus : Path, optional
        Folder of real blocks, for a picture that needs one.

    Raises
    ------
    PevmError
        If matplotlib is not installed, the blocks cannot be read, or a file cannot be written.
    """
    need_matplotlib()
    import matplotlib.pyplot as plt

    with redirect_stdout(io.StringIO()):  # benchmarks print their tables
        draw = picture.make(corpus) if picture.needs_corpus else picture.make()
    for suffix, styles in _STYLES.items():
        with plt.style.context(styles):
            drawn = draw()
            figure = (drawn[0] if isinstance(drawn, tuple) else drawn).figure
            with replacing(folder / f"{picture.name}{suffix}.png") as (temporary,):
                _write(figure, temporary)
            plt.close(figure)


def _write(figure: Any, path: Path) -> None:
    """A PNG of few colours."""
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=_DPI)
    with Image.open(raw) as image:
        image.convert("RGB").quantize(_COLOURS).save(path, format="png", optimize=True)


def page(pictures: Sequence[Picture], folder: str, corpus: Path | None = None) -> str:
    """The page of some pictures, in Markdown.

    Parameters
    ----------
    pictures : sequence of Picture
    folder : str
        Where the pictures are, seen from the page.
    corpus : Path, optional
        Folder of real blocks, if one was given.

    Examples
    --------
    >>> text = page(PICTURES[:1], "gallery")
    >>> 'srcset="gallery/plan-dark.png"' in text, "ax = plot.gantt(" in text
    (True, True)
    """
    more = "" if corpus is None else f" --corpus {corpus}"
    named = "" if corpus is None else f'\ncorpus = Path("{corpus}")  # real blocks\n'
    parts = [_HEAD.format(command=f"python -m pevm_numba.plot.gallery --output docs/gallery{more}", corpus=named)]
    for one in pictures:
        caption = one.caption
        if one.measured:
            caption += f" Measured, on {os.cpu_count()} cores: other runs give other figures."
        words = {"heading": one.heading, "caption": caption, "name": one.name, "lines": one.lines}
        parts.append(_PICTURE.format(folder=folder, **words))
    return "".join(parts)


def _chosen(only: str, corpus: Path | None) -> list[Picture]:
    """The pictures to draw: those named, or all that can be."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = {one.name: one for one in PICTURES}
    for name in names:
        con.check_choice("--only", name, known)
        if known[name].needs_corpus and corpus is None:
            raise UsageError(f"--only {name}: shows a real block, give --corpus")
    return [known[name] for name in names] or [one for one in PICTURES if corpus is not None or not one.needs_corpus]


@app.command()
def gallery(
    output: Annotated[Path, typer.Option(help="Folder of the pictures; the page is put beside it, as FOLDER.md.")] = Path(
        "docs/gallery"
    ),
    corpus: Annotated[Path | None, typer.Option(help="Folder of real blocks; without it they are left out.")] = None,
    only: Annotated[str, typer.Option(help="Names of pictures with commas between: draw these, leave the page.")] = "",
) -> None:
    """Draw every picture, light and dark, and write a page with the lines that make it; about a minute."""
    need_matplotlib()
    import matplotlib as mpl

    mpl.use("Agg")  # files only: no window, and no display that must be there
    chosen = _chosen(only, corpus)
    if corpus is not None:
        existing(corpus)
    output.mkdir(parents=True, exist_ok=True)
    for one in con.progress(chosen, "drawing", len(chosen)):
        render(one, output, corpus)
    print(f"{output}: {len(chosen)} pictures, light and dark")
    if not only:
        target = output.with_name(f"{output.name}.md")
        with replacing(target) as (temporary,):
            temporary.write_text(page(chosen, output.name, corpus), encoding="utf-8")
        print(f"{target}: the page")


def main() -> None:
    """Entry point."""
    con.run_app(app)


if __name__ == "__main__":
    main()
