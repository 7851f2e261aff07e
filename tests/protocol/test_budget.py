"""What is spent counts over all processes, those that were killed included."""

import json

import pytest

from jaxtransfer.errors import WorkdirError
from jaxtransfer.protocol import cells
from jaxtransfer.protocol.acceptance import BudgetSettings
from jaxtransfer.protocol.budget import BudgetSpent, Ledger


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def cell(workdir, seed, seconds, flops):
    directory = workdir / "cells" / "probe" / f"run-seed{seed}"
    directory.mkdir(parents=True)
    facts = {
        **cells.BASELINE_FACTS,
        "rung": "probe",
        "method": {"method": "majority_class"},
        "learning_rate": None,
        "seed": seed,
        "diverged": "",
        "tuning": {"metric": "accuracy", "value": 0.5},
        "wall_seconds": seconds,
        "cost": {"seconds": seconds, "flops": flops, "peak_bytes": 0},
    }
    (directory / "cell.json").write_text(json.dumps(facts))
    return facts


def test_seconds_before_a_kill_count_on_resumption(tmp_path):
    clock = Clock()
    ledger = Ledger(tmp_path, BudgetSettings(seconds=10), clock=clock)

    def interrupted():
        with ledger.running():
            clock.now += 4
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert Ledger(tmp_path, BudgetSettings(seconds=10)).seconds == 4
    # A process that is killed writes nothing at its end: what it noted on the way counts.
    lost = Ledger(tmp_path, BudgetSettings(seconds=10), clock=clock)
    with lost.running():
        clock.now += 7
        lost.progress(1, 2, {})
        assert Ledger(tmp_path, BudgetSettings(seconds=10)).seconds == 11
    with pytest.raises(BudgetSpent, match=r"budget of 10 seconds is spent \(11.0\)"):
        Ledger(tmp_path, BudgetSettings(seconds=10)).check()


def test_cells_without_a_note_count_by_their_own_times(tmp_path):
    cell(tmp_path, 0, 3.0, 5e6)
    cell(tmp_path, 1, 4.0, 5e6)
    ledger = Ledger(tmp_path, BudgetSettings(flops=2e7))
    assert (ledger.seconds, ledger.flops) == (7.0, 1e7)
    ledger.check()
    ledger.add({"cost": {"flops": 1e7}})
    with pytest.raises(BudgetSpent, match=r"budget of 2e\+07 FLOPs is spent"):
        ledger.check()


def test_no_limit_is_no_limit_and_damage_is_named(tmp_path):
    Ledger(tmp_path, BudgetSettings()).check()
    for content in ("[]", "{}", '{"seconds": NaN}', '{"seconds": -1}', '{"seconds": Infinity}'):
        (tmp_path / "spent.json").write_text(content)
        with pytest.raises(WorkdirError, match=r"spent.json is damaged: .*; remove it"):
            Ledger(tmp_path, BudgetSettings())
