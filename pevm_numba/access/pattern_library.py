"""Patterns that are known beforehand: of tokens and exchanges, whose storage is laid out as their compilers do it.

What a function touches is the same for all tokens of a kind. Where the mappings are differs: it is known of a few contracts,
and of others taken as OpenZeppelin's contracts have it.
"""

from __future__ import annotations

from typing import Final

from .patterns import FACTORIES, Group, KeyPattern, Patterns, Stats, Step, Word

__all__ = ["KNOWN_LAYOUTS", "built_in_patterns"]

_SENDER, _CALLEE = Word("sender"), Word("callee")

#: Where well-known tokens have balances and allowances.
KNOWN_LAYOUTS: Final = {
    "dac17f958d2ee523a2206206994597c13d831ec7": (2, 5),  # Tether
    "a0b86991c6218b36c1d19d4a2e9eb0ce3606eb48": (9, 10),  # USD Coin
    "6b175474e89094c44da98b954eedeac495271d0f": (2, 3),  # Dai
    "c02aaa39b223fe8d0a0e5c4f27ead9083c756cc2": (3, 4),  # Wrapped Ether
    "514910771af9ca656af840dff83e8264ecf986ca": (1, 2),  # Chainlink
    "1f9840a85d5af5bf1d1762f925bdaddc4201f984": (4, 3),  # Uniswap
    "95ad61b0a150d79219dcf64e1e6cc01f0b64c4ce": (0, 1),  # Shiba Inu
    "7d1afa7b718fb893db30a3abc0cfc608aacfebb0": (0, 1),  # Polygon
}

#: Taken where nothing is known: OpenZeppelin's ERC-20 and ERC-721.
_USUAL: Final = {"balances": 0, "allowances": 1, "owners": 2, "approvals": 4, "operators": 5}

def _entry(role: str, *words: Word, address: Word = _CALLEE) -> KeyPattern:
    """An entry of a mapping by words, of mappings within mappings if there are several."""
    return KeyPattern(address, role, tuple(Step("mapping", word) for word in words))


def _variables(address: Word, *slots: int) -> list[KeyPattern]:
    return [KeyPattern(address, Word("const", slot)) for slot in slots]


def _swap(first: int, *, pays_tokens: bool) -> list[KeyPattern]:
    """A swap along a path of two tokens, whose first is in that word of the data, on Uniswap V2."""
    pool = Word("pool", len(FACTORIES) * first)
    into, out = Word("word", first), Word("word", first + 1)
    found = _variables(pool, 6, 7, 8, 9, 10, 12)
    found += [_entry("balances", pool, address=into), _entry("balances", pool, address=out)]
    recipient = Word("word", first - 3)
    found.append(_entry("balances", recipient, address=out))
    if pays_tokens:
        found += [_entry("balances", _SENDER, address=into), _entry("allowances", _SENDER, _CALLEE, address=into)]
    return found


def _words(*numbers: int) -> list[Word]:
    return [Word("word", number) for number in numbers]


def _functions() -> dict[int, list[KeyPattern]]:
    one, two, three = _words(0, 1, 2)
    swaps = {selector: _swap(5, pays_tokens=False) for selector in (0x7FF36AB5, 0xFB3BDB41, 0xB6F9DE95)}
    swaps |= {
        selector: _swap(6, pays_tokens=True)
        for selector in (0x38ED1739, 0x18CBAFE5, 0x8803DBEE, 0x4A25D94A, 0x791AC947, 0x5C11D795)
    }
    pool = Word("pool", len(FACTORIES) - 1)  # of the tokens in words 0 and 1, and the fee in word 2
    return {
        0xA9059CBB: [_entry("balances", _SENDER), _entry("balances", one)],  # transfer
        0x23B872DD: [_entry("balances", one), _entry("balances", two), _entry("allowances", one, _SENDER)],  # transferFrom
        0x095EA7B3: [_entry("allowances", _SENDER, one)],  # approve
        0x40C10F19: [_entry("balances", one)],  # mint
        0x42842E0E: [_entry("owners", three), _entry("approvals", three)],  # safeTransferFrom of ERC-721
        0xA22CB465: [_entry("operators", _SENDER, one)],  # setApprovalForAll
        0x022C0D9F: _variables(_CALLEE, 6, 7, 8, 9, 10, 12),  # swap of a Uniswap V2 pair
        0x128ACB08: _variables(_CALLEE, 0, 1, 2, 4),  # swap of a Uniswap V3 pool
        0x414BF389: _variables(pool, 0, 1, 2, 4),  # exactInputSingle
        **swaps,
    }  # fmt: skip


def built_in_patterns() -> Patterns:
    """Patterns of ERC-20, ERC-721, and swaps on Uniswap V2 and V3, layouts of well-known tokens, and what to trust at first.

    References
    ----------
    ERC-20, ERC-721; Uniswap v2-core and v2-periphery, v3-core and v3-periphery.

    Examples
    --------
    >>> len(built_in_patterns().templates[None, 0xA9059CBB])
    2
    """
    templates: dict[Group, dict[KeyPattern, Stats]] = {
        (None, selector): {pattern: Stats(4, 4 if pattern.steps else 0, 4) for pattern in patterns}
        for selector, patterns in _functions().items()
    }
    layouts = {
        bytes.fromhex(address): {"balances": {balances: 1}, "allowances": {allowances: 1}}
        for address, (balances, allowances) in KNOWN_LAYOUTS.items()
    }  # fmt: skip
    return Patterns(templates, layouts, dict(_USUAL))
