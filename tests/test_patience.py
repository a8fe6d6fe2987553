"""The helper thread: one for all calls, as libraries keep threads for each; interrupted at any moment, nothing runs on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from pevm_numba import patience
from pevm_numba.patience import interruptible


def nothing() -> None:
    """Not stopped: what is called ends by itself."""


def test_all_calls_are_made_on_one_thread_that_is_not_this_one() -> None:
    threads = {interruptible(threading.get_ident, nothing) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_is_raised_comes_here_and_the_next_call_is_made() -> None:
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0, nothing)
    assert interruptible(lambda: 7, nothing) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_helper_of_its_own() -> None:
    interruptible(nothing, nothing)
    child = os.fork()
    if child == 0:
        os._exit(interruptible(lambda: 42, nothing))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def raised_in(delay: float, function: Callable[[], object], stop: Callable[[], None]) -> None:
    """Call with a signal that raises after so many seconds."""

    def handler(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def call() -> None:
        signal.setitimer(signal.ITIMER_REAL, delay)
        interruptible(function, stop)
        time.sleep(10)  # it had ended before the signal came

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("delay", [0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.02, 0.2])
def test_who_is_interrupted_leaves_nothing_running(delay: float) -> None:
    """Wherever the signal comes: the call has ended, or will never begin."""
    for _ in range(20 if delay < 0.01 else 1):
        stopped, running = threading.Event(), list[int]()

        def function(stopped: threading.Event = stopped, running: list[int] = running) -> None:
            running.append(1)
            stopped.wait(5)
            running.pop()

        raised_in(delay, function, stopped.set)
        assert not running
        assert interruptible(lambda: 3, nothing) == 3
        assert not running


def test_a_call_that_was_handed_over_twice_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, hand_over = list[int](), patience._hand_over

    def twice(call: Callable[[], object]) -> None:
        hand_over(call)
        hand_over(call)

    monkeypatch.setattr(patience, "_hand_over", twice)
    interruptible(lambda: made.append(1), nothing)
    interruptible(lambda: made.append(2), nothing)
    assert made == [1, 2]


def test_a_handler_may_call_while_a_call_is_waited_for() -> None:
    """It waits its turn."""
    found = []

    def handler(number: int, frame: object) -> None:
        found.append(interruptible(lambda: 5, nothing))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        interruptible(lambda: time.sleep(0.2), nothing)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found == [5]
