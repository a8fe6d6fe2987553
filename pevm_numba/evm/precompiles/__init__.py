"""A precompile that fails takes all its gas; one that merely finds nothing (a signature, a key) succeeds with no output."""

from __future__ import annotations

from .table import Precompile, call, precompiles

__all__ = ["Precompile", "call", "precompiles"]
