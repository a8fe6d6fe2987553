"""Names of keys short enough for a picture: the ends of long numbers, told apart by the key's id where those are equal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from ..access.sets import AccessSets
from ..evm.block import AnyBlock

__all__ = ["short_names", "shortened"]

_LONG: Final = re.compile(r"0x([0-9a-fA-F]{4})[0-9a-fA-F]{5,}([0-9a-fA-F]{4})")


def shortened(name: str) -> str:
    """A key's name with the middle of each long number left out.

    Examples
    --------
    >>> shortened("0x" + "ab" * 20 + " slot 0x5")
    '0xabab…abab slot 0x5'
    """
    return _LONG.sub(r"0x\1…\2", name)


def short_names(access: AccessSets, keys: Sequence[int], block: AnyBlock | None) -> list[str]:
    """A text for each of the keys, all different; ``key 3`` where nothing says what the ids stand for."""
    names = access.names(block if block is not None else access.exact_for)
    if names is None:
        return [f"key {k}" for k in keys]
    texts = [shortened(names.key_name(k)) for k in keys]
    times = Counter(texts)
    return [text if times[text] == 1 else f"{text} (key {k})" for text, k in zip(texts, keys)]
