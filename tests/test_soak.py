"""Many random blocks with hot keys, executed in waves of spoilt estimates; 10,000 in the soak, some in every run."""

from __future__ import annotations

import os

import numpy as np

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.oracles import degrade
from pevm_numba.execute import waves
from pevm_numba.execute.run import execute
from pevm_numba.generate import OpMix, generate
from pevm_numba.schedule.policies import schedule

N_BLOCKS = 10_000 if os.environ.get("PEVM_NUMBA_SOAK") else (5 if DISABLED else 150)


def test_random_blocks_with_hot_keys_equal_serial_at_any_miss_rate(monkeypatch) -> None:
    rng = np.random.default_rng(20240611)
    for i in range(N_BLOCKS):
        pattern = str(rng.choice(["uniform", "zipf", "chain", "star", "clique"]))
        block = generate(
            n_tx=int(rng.integers(0, 120)),
            key_space=int(rng.integers(1, 200)),
            conflict_ratio=float(rng.choice([0.1, 0.5, 0.9])),
            pattern=pattern,
            seed=i,
            mix=OpMix(top_share=0.5, noop_count=int(rng.choice([1, 1000]))),
        )
        monkeypatch.setattr(waves, "LEAST_WORK", int(rng.choice([0, 8000])))
        workers = int(rng.choice([1, 2, 3, 8]))
        access = degrade(pn.access_sets(block), float(rng.choice([0.0, 0.01, 0.5, 1.0])), 0.05, i)
        reference = execute(block, "serial")
        execute(block, "waves", access=access, workers=workers).check_equal(reference)
        plan = schedule(access, "mis", block=block)
        ordered = execute(block, "serial", schedule=plan)
        execute(block, "waves", schedule=plan, workers=workers).check_equal(ordered)
