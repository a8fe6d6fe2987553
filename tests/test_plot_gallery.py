"""The gallery: every function that draws is in it, light and dark, and the page shows the lines that ran."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image
from test_cli import in_process

import pevm_numba as pn
from pevm_numba import plot
from pevm_numba.bench import breakeven
from pevm_numba.plot import gallery, pictures

ROOT = Path(__file__).resolve().parents[1]
SYNTHETIC = [one for one in pictures.PICTURES if not one.needs_corpus]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process."""
    return in_process(gallery.main, monkeypatch, capsys)


def test_every_function_that_draws_is_in_the_gallery_with_or_without_real_blocks() -> None:
    assert {one.function for one in SYNTHETIC} == {name for name in plot.__all__ if callable(getattr(plot, name))}
    assert len({one.name for one in pictures.PICTURES}) == len(pictures.PICTURES)


def test_the_command_draws_all_light_and_dark_and_writes_the_page(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakeven, "SWEEP_US", (0.1, 1.0))
    said = call("--output", tmp_path / "shown")
    assert (said.code, said.err) == (0, "")
    assert f"{len(SYNTHETIC)} pictures, light and dark" in said.out
    page = (tmp_path / "shown.md").read_text()
    for one in SYNTHETIC:
        assert f"```python\n{one.lines}\n```" in page
        levels = []
        for suffix in ("", "-dark"):
            assert f'"shown/{one.name}{suffix}.png"' in page
            with Image.open(tmp_path / "shown" / f"{one.name}{suffix}.png") as image:
                assert image.width == 900
                levels.append(float(np.median(np.asarray(image.convert("L"))[:12, -12:])))
        assert levels[0] > 200 > 50 > levels[1], one.name  # the background of a corner
    assert page.count("Measured, on") == sum(one.measured for one in SYNTHETIC)
    assert not plt.get_fignums()
    assert sum(path.stat().st_size for path in (tmp_path / "shown").iterdir()) < 2_500_000


def test_the_lines_of_a_picture_are_the_source_that_makes_it() -> None:
    one = next(one for one in pictures.PICTURES if one.name == "chain")
    space: dict[str, Any] = {"pn": pn, "plot": plot, "np": np}
    exec(compile(one.lines, one.name, "exec"), space)
    drawn, again = space["ax"], one.make()()
    assert drawn.get_title(loc="left") == again.get_title(loc="left")
    for mine, other in zip(drawn.collections, again.collections, strict=True):
        assert all(np.array_equal(a.vertices, b.vertices) for a, b in zip(mine.get_paths(), other.get_paths(), strict=True))
    for each in pictures.PICTURES:
        assert not re.search(r"from \.|lambda: plot|return ", each.lines), each.name
        assert each.heading
        assert each.caption


def test_the_page_in_docs_is_of_the_pictures_as_they_are() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text()
    for one in pictures.PICTURES:
        assert one.caption in page, f"run: python -m pevm_numba.plot.gallery ({one.name})"
        assert f"```python\n{one.lines}\n```" in page, f"run: python -m pevm_numba.plot.gallery ({one.name})"
        for suffix in ("", "-dark"):
            assert (ROOT / "docs" / "gallery" / f"{one.name}{suffix}.png").exists()
    shown = {path.stem.removesuffix("-dark") for path in (ROOT / "docs" / "gallery").iterdir()}
    assert shown == {one.name for one in pictures.PICTURES}


def test_some_pictures_can_be_drawn_again_without_touching_the_page(call: Any, tmp_path: Path) -> None:
    assert call("--output", tmp_path / "g", "--only", "waves, hot").code == 0
    names = {path.name for path in (tmp_path / "g").iterdir()}
    assert names == {f"{name}{suffix}.png" for name in ("waves", "hot") for suffix in ("", "-dark")}
    assert not (tmp_path / "g.md").exists()


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("--only", "sunset"), "--only 'sunset' is unknown: one of plan,", 2),
        (("--only", "hot_mainnet"), "--only hot_mainnet: shows a real block, give --corpus", 2),
        (("--corpus", "nowhere"), "nowhere: no such file or folder", 1),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(
    call: Any, tmp_path: Path, words: tuple[str, ...], said: str, code: int
) -> None:
    found = call("--output", tmp_path / "g", *words)
    assert found.code == code
    assert said in found.err
    assert not (tmp_path / "g").exists()
