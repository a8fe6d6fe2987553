"""The block files in data/ are what their README says: made again from its commands, equal to its digests."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pevm_numba.generate import generate
from pevm_numba.io.files import read_block, read_blocks

DATA = Path(__file__).resolve().parents[1] / "data"
ROW = re.compile(
    r"^\| (?P<file>\S+\.parquet) \| [^|]+ \| `(?P<command>[^`]+)` \| (?P<seed>\d+) \| `(?P<digest>[0-9a-f]{64})` \|$"
)
TYPES: dict[str, Any] = {
    "preset": str, "n_tx": int, "key_space": int, "conflict_ratio": float, "cold_ratio": float, "seed": int,
    "pattern": str, "number": int, "output": str,
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    found = [ROW.match(line) for line in (DATA / "README.md").read_text().splitlines()]
    return [match.groupdict() for match in found if match]


def options(command: str) -> dict[str, Any]:
    """The flags of a `generate` command as keyword arguments."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "pevm_numba", "generate"]
    names = [flag.removeprefix("--").replace("-", "_") for flag in words[4::2]]
    return {name: TYPES[name](value) for name, value in zip(names, words[5::2], strict=True)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_a_data_file_is_what_its_command_makes(row):
    given = options(row["command"])
    assert given.pop("output") == f"data/{row['file']}"
    assert given["seed"] == int(row["seed"])
    block = generate(given.pop("preset", None), **given)
    assert block.digest() == row["digest"]
    assert read_block(DATA / row["file"]) == block


def test_every_data_file_has_its_row_and_the_folder_can_be_read_as_one():
    companions = (".blocks.parquet", ".state.parquet")
    files = {path.name for path in DATA.glob("*.parquet") if not path.name.endswith(companions)}
    assert files == {row["file"] for row in rows()}
    assert len(files) == 5
    assert [block.number for block in read_blocks(DATA)] == [1, 2, 3, 4, 5]


def test_the_data_folder_stays_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 300_000
