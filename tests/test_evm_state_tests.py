"""Official state tests: root and logs of one transaction each. The sample is fixed; with PEVM_NUMBA_SOAK=1 all are run."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import FileFormatError
from pevm_numba.io.state_tests import read_state_tests

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "state_tests" / "GeneralStateTests.zip"
FORKS = ("Berlin", "London", "Paris", "Shanghai", "Cancun")
#: Slow by design; in the soak with all others.
SLOW = ("stTimeConsuming", "stQuadraticComplexityTest", "stStackTests", "loopMul")
SOAK = bool(os.environ.get("PEVM_NUMBA_SOAK"))
#: Of the files, every so many is run; in the soak all are.
EVERY = 1 if SOAK else 10

needs_archive = pytest.mark.skipif(not ARCHIVE.exists(), reason="no shared/state_tests beside the checkout")


@needs_archive
@pytest.mark.skipif(DISABLED, reason="too slow in plain Python")
@pytest.mark.parametrize("fork", FORKS)
def test_official_cases(fork: str) -> None:
    counts: Counter[str] = Counter()
    failed = []
    for case in read_state_tests(ARCHIVE, [fork], EVERY):
        if not SOAK and any(slow in case.name for slow in SLOW):
            continue
        found = case.outcome()
        counts[found.split(":")[0]] += 1
        if found != "passed":
            failed.append(f"{case.name}: {found}")
    print(fork, dict(counts))
    assert counts["passed"] > 300
    assert not failed, f"{len(failed)} of {counts.total()}: " + "; ".join(failed[:20])


@needs_archive
def test_a_test_that_expects_something_else_fails(tmp_path: Path) -> None:
    case = next(case for case in read_state_tests(ARCHIVE, ["London"]) if "hash" in case.expected)
    post = {"London": [{**case.expected, "hash": "0x" + 64 * "0"}, {**case.expected, "logs": "0x" + 64 * "0"}]}
    (tmp_path / "one.json").write_text(json.dumps({"one": {**case.test, "post": post}}))
    assert [one.outcome() for one in read_state_tests(tmp_path, ["London"])] == ["root", "logs"]


def test_what_is_no_state_test_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"one": 5}')
    with pytest.raises(FileFormatError, match=r"bad\.json: is no state test"):
        list(read_state_tests(tmp_path, ["London"]))
