"""What 32 trials of a linear probe on cached features cost, in times of one trial.

    python experiments/benchmarks/sweep.py [--repetitions 5] [--config configs/bbc_minilm.py]

The trials are those of `jaxtransfer sweep` with its own space: learning rate, weight decay and batch size at random.
One trial and 32 are timed in turn, with their steps compiled and the features cached (`warm`), and with the compiled
steps thrown away before each (`compiling`); the ratio is of the medians, of time on the clock and of processor time.
For comparison, one trial as the ladder runs it (`alone`). Takes about a minute on two quiet cores.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtransfer.cli import config_words
from jaxtransfer.protocol import samplers, sweep, sweep_processes, trials
from jaxtransfer.protocol.cells import Workbench
from jaxtransfer.protocol.problem import prepare
from jaxtransfer.protocol.settings import from_config, train_settings
from jaxtransfer.train.compiled import CompiledSteps

RUNG = "linear_probe"
TRIALS = 32


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def measure(config: str, repetitions: int, directory: Path) -> dict[str, Any]:
    """Medians over the repetitions, and their ratios."""
    loaded = config_words.load([f"--config={config}"])
    settings = from_config(loaded)
    rung = settings.rung(RUNG)
    space = sweep.space_of(loaded, settings, RUNG)
    steps = train_settings(settings, rung).steps
    bench = sweep_processes.bench_of(prepare(settings), directory)
    points = samplers.points("random", TRIALS - 1, len(space.parameters), seed=0)
    drawn = [space.defaults(), *(space.at(point) for point in points)]
    every = [
        trials.Trial(number=number, parameters=parameters, steps=steps)
        for number, parameters in enumerate(drawn)
    ]
    seed = settings.tuning.seed

    def together(count: int, bench: Workbench) -> int:
        rows = trials.run_together(bench, rung, every[:count], seed=seed)
        return sum(len(part) for part in rows)

    def fresh() -> Workbench:
        return Workbench(problem=bench.problem, compiled=CompiledSteps(), cache=bench.cache)

    cases: dict[str, Callable[[], Any]] = {
        "warm 1": lambda: together(1, bench),
        f"warm {TRIALS}": lambda: together(TRIALS, bench),
        "compiling 1": lambda: together(1, fresh()),
        f"compiling {TRIALS}": lambda: together(TRIALS, fresh()),
        "alone": lambda: trials.run_one(bench, rung, every[0], seed=seed),
    }
    assert together(TRIALS, bench) == TRIALS
    for case in cases.values():
        case()
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for repetition in range(repetitions):
        for name, case in cases.items():
            took[name].append(timed(case))
        print(f"{repetition + 1} of {repetitions}", file=sys.stderr, flush=True)
    medians = {
        name: [statistics.median(one[kind] for one in each) for kind in (0, 1)]
        for name, each in took.items()
    }
    return {
        "config": config,
        "trials": TRIALS,
        "steps": steps,
        "load": os.getloadavg()[0],
        "seconds": {name: round(clock, 4) for name, (clock, _) in medians.items()},
        "processor_seconds": {name: round(cpu, 4) for name, (_, cpu) in medians.items()},
        "ratio": {
            f"{kind}, {what}": round(
                medians[f"{kind} {TRIALS}"][place] / medians[f"{kind} 1"][place], 2
            )
            for kind in ("warm", "compiling")
            for place, what in enumerate(("clock", "processor"))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/bbc_minilm.py")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = measure(arguments.config, arguments.repetitions, Path(directory))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
