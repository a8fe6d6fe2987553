"""Executors in a process: Ctrl-C stops them, threads may share them, forked and spawned children get right results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pevm_numba._kernels.jit import DISABLED

pytestmark = pytest.mark.skipif(DISABLED, reason="needs real threads")
ROOT = Path(__file__).resolve().parents[1]
PARALLEL = ("waves", "dataflow", "optimistic", "bal")

HEAD = """
import signal, sys, threading, time
import numpy as np
import pevm_numba as pn
from pevm_numba.execute import dataflow, waves
from pevm_numba.patience import interruptible

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
waves.LEAST_WORK = dataflow.LEAST_WORK = dataflow.LEAST_GAIN = 0
EXECUTORS = ("waves", "dataflow", "optimistic", "bal")
block = pn.generate(n_tx=400, key_space=20, conflict_ratio=0.8, seed=5)
reference = pn.execute(block, "serial")


def check(executors=EXECUTORS, repeat=3, **options):
    for executor in executors:
        for _ in range(repeat):
            result = pn.execute(block, executor, **options)
            result.check_equal(reference)
"""


def run(code: str, timeout: float = 300, **environment: str) -> str:
    """Standard output of a fresh interpreter that runs HEAD and then `code`."""
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code], env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


INTERRUPT = """
import os
from pevm_numba.access.block_list import BlockAccessList

executor, shape = sys.argv[1:]
if shape == "one long transaction":
    programs = [[("NOOP", 2**31 - 1)]] * 40
elif shape == "one that may fail":
    programs = [[("NOOP", 2**31 - 1), ("SLOAD", (1, 0, 0)), ("ADD", 1)]] * 40
elif shape == "many steps of a millisecond":
    programs = [[("NOOP", 1_000_000)] * 100] * 600
else:
    programs = [[("SLOAD", (1, 0, 0)), ("NOOP", 100_000), ("ADD", 1), ("SSTORE", (1, 0, 0), "TOP")]] * 200_000
limits = [2**31 + 30_000 if shape == "one that may fail" else 2**62] * len(programs)
long = pn.Block.from_programs(programs, gas_limits=limits)
options = {"workers": 2}
if executor == "bal" and shape == "one long transaction":  # else the list is made first, which takes as long
    options["access_list"] = BlockAccessList(long.n_keys, np.zeros(long.n_tx + 1, int), [], np.zeros((0, 4), int), [])
before = __import__("numba").get_num_threads()
check((executor,) if executor != "serial" else (), 1, workers=2)  # kernels are ready
sent = []


def interrupt():
    time.sleep(0.7)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt).start()
started = time.perf_counter()
try:
    pn.execute(long, executor, **options)
    print("not interrupted")
except KeyboardInterrupt:
    late = time.perf_counter() - sent[0]
    print("interrupted" if late < 1 else f"late: {late:.1f} s")
assert __import__("numba").get_num_threads() == before
started = time.perf_counter()
interruptible(lambda: None, lambda: None)  # comes when the thread that makes all such calls has nothing more to do
assert time.perf_counter() - started < 0.5
check(repeat=1, workers=2)
"""


SHAPES = ("one long transaction", "one that may fail", "many steps of a millisecond", "many short ones")
LONG_RUNS = [(name, shape) for name in ("serial", *PARALLEL) for shape in SHAPES]


@pytest.mark.parametrize(("executor", "shape"), LONG_RUNS)
def test_ctrl_c_stops_the_workers_within_a_second_and_later_runs_are_right(executor: str, shape: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", HEAD + INTERRUPT, executor, shape]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


ERROR = """

class Alarm(Exception):
    pass

def handler(*_):
    raise Alarm

signal.signal(signal.SIGALRM, handler)
long = pn.Block.from_programs([[("NOOP", 2**31 - 1)]] * 40, gas_limits=[2**62] * 40)
signal.setitimer(signal.ITIMER_REAL, 0.5)
try:
    pn.execute(long, "dataflow", workers=2)
except Alarm:
    print("alarm")
check(repeat=1, workers=2)
"""


SECOND_RUN = """
import os
from pevm_numba.execute import micro_ops

long = pn.Block.from_programs([[("NOOP", 2**31 - 1)]] * 40, gas_limits=[2**62] * 40)
real, calls = micro_ops.launch, []

def launch(*arguments, **options):
    calls.append(time.perf_counter())
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    return real(*arguments, **options)

micro_ops.launch = launch
micro_ops.SerialJob.run = lambda job: ({}, {"execute_ns": 0, "cpu_ns": 0})
try:
    pn.execute(long, "serial", record="changes")
except KeyboardInterrupt:
    print(len(calls), time.perf_counter() - calls[0] < 1.3)
"""


def test_ctrl_c_stops_the_second_run_that_notes_changes() -> None:
    assert run(SECOND_RUN) == "1 True\n"


SERIAL_ONLY = """
from pevm_numba._kernels import jit
pn.execute(block, "serial", record=("times", "changes"))
print(jit.started())
pn.execute(block, "waves", workers=2).check_equal(reference)
print(jit.started())
"""


def test_serial_execution_starts_no_threads() -> None:
    assert run(SERIAL_ONLY) == "False\nTrue\n"


def test_any_error_that_a_signal_handler_raises_stops_the_run() -> None:
    assert run(ERROR) == "alarm\n"


FORK = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forking with threads: that is the point here
if BEFORE == "parallel":
    check(workers=2)
pid = os.fork()
if pid == 0:
    try:
        check(workers=2)
        graph = pn.schedule(block, "mis-parallel")
        pn.check_schedule(graph, pn.access_sets(block), block=block)
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
deadline = time.time() + 120
while time.time() < deadline:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
    time.sleep(0.02)
else:
    os.kill(pid, 9)
    sys.exit("the child hangs")
assert os.waitstatus_to_exitcode(status) == 0, status
check(workers=2)
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.parametrize("before", ["parallel", "nothing"])
def test_a_forked_child_runs_and_does_not_hang(layer: str, before: str) -> None:
    run(f"BEFORE = {before!r}\n" + FORK, NUMBA_THREADING_LAYER=layer)


LOGGED = """
import logging, os
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
check(workers=2)
pid = os.fork()
if pid == 0:
    check(workers=2)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_the_forked_child_says_once_for_each_kernel_that_it_has_one_thread() -> None:
    lines = run("import warnings\nwarnings.simplefilter('ignore')\n" + LOGGED).splitlines()
    assert len(lines) == len(PARALLEL)
    assert set(lines) == {"forked after parallel code had run: parallel kernels run on one thread here; spawn has them all"}


SPAWN = """
def work(seed):
    block = pn.generate(n_tx=200, key_space=20, conflict_ratio=0.8, seed=seed)
    reference = pn.execute(block, "serial")
    for executor in EXECUTORS:
        pn.execute(block, executor, workers=2).check_equal(reference)
    return seed

if __name__ == "__main__":
    import multiprocessing
    check(workers=2)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(work, range(4)))
"""


def test_spawned_children_have_all_executors(tmp_path: Path) -> None:
    script = tmp_path / "spawning.py"
    script.write_text(HEAD + SPAWN)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2, 3]\n"), done.stderr


THREADS = """
import numba
problems = []

def work(executor):
    try:
        check((executor,), repeat=15, workers=2)
    except BaseException as error:
        problems.append(repr(error))

threads = [threading.Thread(target=work, args=(name,)) for name in (*EXECUTORS, *EXECUTORS)]
for thread in threads:
    thread.start()
check(repeat=10, workers=2)
for thread in threads:
    thread.join()
print(problems, numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_python_threads_may_execute_at_the_same_time_on_every_threading_layer(layer: str) -> None:
    assert run(THREADS, NUMBA_THREADING_LAYER=layer) == f"[] {layer}\n"


COUNTS = """
import numba
from pevm_numba.execute.launch import default_workers

print(default_workers(), numba.config.NUMBA_NUM_THREADS)
for workers in (None, 1, 2, 3, 8, 40):
    check(repeat=5, workers=workers)
result = pn.execute(block, "dataflow", workers=3, record="times")
result.check_equal(reference)
print(result.counters["workers"], result.times.n_workers)
numba.set_num_threads(1)
print(default_workers())
check(repeat=2)
print(numba.get_num_threads())
"""


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_any_number_of_workers_on_any_number_of_threads_is_right(threads: int) -> None:
    said = run(COUNTS, NUMBA_NUM_THREADS=str(threads))
    assert said.split() == [str(threads), str(threads), "3", "3", "1", "1"]


BUSY = """
check(repeat=1, workers=2)
stop = []
noise = [threading.Thread(target=lambda: [sum(range(10**5)) for _ in iter(lambda: bool(stop), True)]) for _ in range(2)]
for thread in noise:
    thread.start()
try:
    check(repeat=10, workers=4)
finally:
    stop.append(1)
for thread in noise:
    thread.join()
"""


def test_cores_taken_by_other_threads_change_nothing_but_the_time() -> None:
    run(BUSY, NUMBA_NUM_THREADS="4")
