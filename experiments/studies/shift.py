"""Linear probe, LP-FT and full fine-tuning in and out of distribution: does the published ordering hold here?

    python experiments/studies/shift.py

Kumar et al. (arXiv 2202.10054) found fine-tuning better in distribution and worse out of it than a linear probe, and LP-FT
best on both. Two shifts: sentiment trained on snippets of movie reviews and tested on Amazon reviews, tweets and New York
Times editorials (VADER's data, the same cut at -0.5 and 0.5; MiniLM, 32 tokens), and digits trained on MNIST and tested
on UCI's (8 x 8, enlarged to 20 x 20 by bilinear interpolation and framed to 28 x 28, as MNIST's were; EfficientNet-Lite0,
48 pixels, frozen BatchNorm statistics). Two numbers of labels each, and five seeds, each of which draws its own training
labels, head and order. Learning rates are chosen in distribution, on 200 validation examples, with a seed of its own.

Resumes cell by cell; seeds are the outer loop, so that what is finished is a whole study of fewer seeds. `--seeds`,
`--shifts` and `--labels` take fewer cells, `--only-finished` writes what the work directory has, `--from-results` writes
page and figure anew from the JSON. Writes `results/shift.json`, `.md` and `.svg`; the page says what the cells took.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from shift_page import AWAY, HERE, draw, page
from study_common import Clock, total

from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table
from jaxtransfer.data.splits import nested_subsets
from jaxtransfer.evaluation.seeds import measure_seeds
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cells, config_file
from jaxtransfer.protocol.climbing import choose_rate
from jaxtransfer.protocol.decision import compare_family
from jaxtransfer.protocol.problem import TEST, TRAIN, TUNE, Problem, prepare
from jaxtransfer.protocol.provenance import environment, versions
from jaxtransfer.protocol.settings import AcceptanceSettings, LadderSettings, from_config
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "results"
RUNS = ROOT / "runs" / "studies" / "shift"
CONFIGS = {"sentiment": "movie_minilm", "digits": "digits_efficientnet"}
FILES = {
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
}
UCI = "configs/outliers/uci_digits.py"
DOMAINS = {"sentiment": tuple(FILES), "digits": ("uci",)}
RUNGS = ("linear_probe", "lp_ft", "full")
RATES = {
    "sentiment": {"linear_probe": (1e-3, 1e-2), "lp_ft": (3e-5, 1e-4), "full": (3e-5, 1e-4)},
    "digits": {"linear_probe": (1e-3, 1e-2), "lp_ft": (1e-4, 3e-4), "full": (3e-4, 1e-3)},
}
LABELS = (50, 250)
STEPS = {50: 40, 250: 80}
SEEDS = (0, 1, 2, 3, 4)
TUNING_SEED = 1000
FOREIGN, HOME = 300, 400
"""Examples to test on: of each foreign domain, and of the one trained on."""
PIXELS = 48
METRIC = "macro_f1"
RULE = AcceptanceSettings(metric=METRIC, margin=0.0, confidence=0.95)
PAIRS = (("full", "linear_probe"), ("lp_ft", "linear_probe"), ("lp_ft", "full"))


def settings_of(shift: str, labels: int) -> LadderSettings:
    """The config of the home domain with this study's sizes, steps and rates; validation tunes as a whole."""
    config = config_file.read(str(ROOT / "configs" / f"{CONFIGS[shift]}.py"))
    with config.unlocked():
        config.name = f"{shift}-{labels}"
        # Half of validation is the tuning half; nothing is decided on the other.
        config.splits.sizes = {"validation": 400, "calibration": 0, "test": HOME}
        config.splits.train_per_class = max(LABELS) // (2 if shift == "sentiment" else 10)
        config.train.steps = STEPS[labels]
        config.train.batch_size = 10
        config.train.evaluate_every = 0
        config.acceptance.metric = METRIC
        config.rungs = RUNGS
        if shift == "digits":
            config.model.options.image_size = PIXELS
        for rung, rates in RATES[shift].items():
            config.methods[rung].learning_rates = rates
    return from_config(config)


def foreign(shift: str, home: LadderSettings) -> dict[str, Table]:
    """A class-stratified sample of each foreign domain, without duplicates, ids marked by the domain."""
    if shift == "digits":
        raw = {"uci": framed(load_table(config_file.read(str(ROOT / UCI)).data.to_dict()))}
    else:
        folder = str(home.data["path"]).rpartition("/")[0]
        raw = {
            name: load_table({**home.data, "path": f"{folder}/{file}"})
            for name, file in FILES.items()
        }
    found = {}
    for name, table in raw.items():
        clean, _ = deduplicate(table)
        assert clean.labels is not None
        drawn = nested_subsets(
            np.arange(len(clean)), clean.labels, [FOREIGN], seed=0, balanced=False
        )
        rows = clean.take(drawn[FOREIGN])
        marked = np.array([f"{name}:{row}" for row in rows.ids])
        found[name] = dataclasses.replace(rows, ids=marked)
    return found


def framed(table: Table) -> Table:
    """UCI's 8 x 8 digits as MNIST has its own: a box of 20 x 20 in the middle of 28 x 28."""
    from PIL import Image

    images = np.zeros((len(table), 28, 28), np.uint8)
    for row in range(len(table)):
        small = Image.fromarray(np.asarray(table.inputs[row]))
        images[row, 4:24, 4:24] = np.asarray(small.resize((20, 20), Image.Resampling.BILINEAR))
    return dataclasses.replace(table, inputs=images)


def joined(tables: Sequence[Table]) -> Table:
    """Tables of the same classes, one after another."""
    (classes,) = {table.classes for table in tables}
    labels = [table.labels for table in tables if table.labels is not None]
    inputs = [table.inputs[row] for table in tables for row in range(len(table))]
    return Table(
        ids=np.concatenate([table.ids for table in tables]),
        inputs=inputs,
        labels=np.concatenate(labels),
        classes=classes,
    )


class Shift:
    """A home domain, its foreign ones, and the benches of its numbers of labels."""

    def __init__(self, name: str, runs: pathlib.Path):
        self.name, self.runs = name, runs

    @functools.cached_property
    def problem(self) -> Problem:
        """The home domain's splits, with the foreign examples among what is predicted."""
        settings = settings_of(self.name, max(LABELS))
        problem = prepare(settings)
        others = foreign(self.name, settings)
        home = problem.examples[TEST].table
        table = joined([home, *others.values()])
        names = [TEST] * len(home)
        for domain, rows in others.items():
            names += [domain] * len(rows)
        tune = problem.examples[TUNE].table
        return dataclasses.replace(
            problem,
            evaluated=Examples(joined([tune, table]), problem.encoder.preprocess),
            evaluated_splits=np.array([TUNE] * len(tune) + names),
        )

    @functools.cached_property
    def shared(self) -> tuple[CompiledSteps, ActivationCache]:
        """What all cells compile and compute once."""
        return CompiledSteps(), ActivationCache()

    def bench(self, labels: int, seed: int) -> Workbench:
        """A seed's own training labels, drawn from what no other split has taken."""
        problem, (compiled, cache) = self.problem, self.shared
        pool = np.concatenate([problem.splits[TRAIN], problem.splits["rest"]])
        assert problem.table.labels is not None
        drawn = nested_subsets(pool, problem.table.labels[pool], LABELS, seed)[labels]
        train = Examples(problem.table.take(drawn), problem.encoder.preprocess)
        own = dataclasses.replace(
            problem,
            settings=settings_of(self.name, labels),
            examples={**problem.examples, TRAIN: train},
        )
        return Workbench(problem=own, compiled=compiled, cache=cache)

    def directory(self, labels: int, rung: str, rate: float, seed: int, purpose: str):
        """Where a cell stands."""
        name = cells.cell_name(rung, rate, seed, purpose)
        return self.runs / f"{self.name}-{labels}" / name

    def cell(self, labels: int, rung: str, rate: float, seed: int, purpose: str) -> cells.Cell:
        """A cell, kept or run."""
        directory = self.directory(labels, rung, rate, seed, purpose)
        kept = cells.load_cell(directory)
        if kept is not None:
            return kept
        settings = settings_of(self.name, labels).rung(rung)
        clock = Clock()
        done = cells.run_cell(
            self.bench(labels, seed),
            settings,
            directory,
            learning_rate=rate,
            seed=seed,
            only_tune=purpose == "tune",
        )
        took = clock.read()
        (directory / "took.json").write_text(json.dumps(took) + "\n")
        print(f"{directory.relative_to(self.runs)}: {took['seconds']:.0f} s", flush=True)
        return done

    def took(self, labels: int, rates: Mapping[str, float], seeds: Sequence[int]):
        """What the trials and runs of a setting took together, or None where one of them did not keep it."""
        wanted = [
            self.directory(labels, rung, rate, TUNING_SEED, "tune")
            for rung in RUNGS
            for rate in RATES[self.name][rung]
        ]
        wanted += [
            self.directory(labels, rung, rates[rung], seed, "run")
            for rung in RUNGS
            for seed in seeds
        ]
        kept = [directory / "took.json" for directory in wanted]
        return total([json.loads(path.read_text()) if path.is_file() else None for path in kept])

    def rate(self, labels: int, rung: str) -> float:
        """The rate that is best in distribution."""
        rates = RATES[self.name][rung]
        trials = [self.cell(labels, rung, rate, TUNING_SEED, "tune") for rate in rates]
        return choose_rate(trials, settings_of(self.name, labels).rung(rung), METRIC)

    def is_finished(self, labels: int, seed: int) -> bool:
        """Whether every rung of a seed stands, at any rate."""
        folder = self.runs / f"{self.name}-{labels}"
        return all(any((folder / rung).glob(f"run-*-seed{seed}/cell.json")) for rung in RUNGS)


def summarise(shift: Shift, labels: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Scores by rung and domain, and paired differences, out of what is finished."""
    tables: dict[str, list[Predictions]] = {}
    rates = {}
    for rung in RUNGS:
        rates[rung] = shift.rate(labels, rung)
        runs = [shift.cell(labels, rung, rates[rung], seed, "run") for seed in seeds]
        tables[rung] = [cell.predictions for cell in runs]
    scores = {
        rung: {
            domain: measured_json(measure_seeds([t.select(domain) for t in tables[rung]], [METRIC]))
            for domain in (TEST, *DOMAINS[shift.name])
        }
        for rung in RUNGS
    }
    return {
        "shift": shift.name,
        "labels": labels,
        "seeds": list(seeds),
        "rates": rates,
        "took": shift.took(labels, rates, seeds),
        "scores": scores,
        "comparisons": compared(tables, DOMAINS[shift.name]),
    }


def measured_json(found: Mapping[str, Any]) -> dict[str, Any]:
    """Value and interval of the metric."""
    one = found[METRIC].to_json()
    return {"value": one["value"], "ci": one["ci"]}


def compared(
    tables: Mapping[str, Sequence[Predictions]], domains: Sequence[str]
) -> list[dict[str, Any]]:
    """Three pairs at home and three on all foreign examples together, one family of six under Holm."""
    rows = {}
    for rung, each in tables.items():
        rows[f"{rung} {HERE}"] = [table.select(TEST) for table in each]
        rows[f"{rung} {AWAY}"] = [
            table.take(np.flatnonzero(np.isin(table.split, domains))) for table in each
        ]
    pairs = [(f"{a} {where}", f"{b} {where}") for where in (HERE, AWAY) for a, b in PAIRS]
    return [
        {
            "where": one.first.rpartition(" ")[2],
            "a": one.first.rpartition(" ")[0],
            "b": one.second.rpartition(" ")[0],
            "value": one.difference.value,
            "ci": None if one.ci is None else list(one.ci),
            "p_adjusted": one.p_adjusted,
            "is_significant": one.is_significant,
        }
        for one in compare_family(rows, pairs, RULE, two_sided=True)
    ]


def write(
    settings: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], folder: pathlib.Path
) -> None:
    """The three files of results."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shift.json"
    path.write_text(json.dumps({"facts": facts, "settings": settings}, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(settings, facts))
    draw(settings, path.with_suffix(".svg"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shifts", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--labels", nargs="+", type=int, choices=LABELS, default=list(LABELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--runs", type=pathlib.Path, default=RUNS, help="where the cells are")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--only-finished", action="store_true", help="write what is there")
    parser.add_argument(
        "--from-results", action="store_true", help="write page and figure anew from the JSON"
    )
    arguments = parser.parse_args()
    if arguments.from_results:
        document = json.loads((arguments.results / "shift.json").read_text())
        write(document["settings"], document["facts"], arguments.results)
        return
    jax.config.update("jax_compilation_cache_dir", str(ROOT / "runs" / "compiled"))
    shifts = {name: Shift(name, arguments.runs) for name in arguments.shifts}
    wanted = [(name, labels) for name in shifts for labels in arguments.labels]
    if not arguments.only_finished:
        for seed in arguments.seeds:
            for name, labels in wanted:
                for rung in RUNGS:
                    shifts[name].cell(labels, rung, shifts[name].rate(labels, rung), seed, "run")
    settings, finished = [], 0
    for name, labels in wanted:
        seeds = [seed for seed in arguments.seeds if shifts[name].is_finished(labels, seed)]
        finished += len(seeds)
        if len(seeds) > 1:
            settings.append(summarise(shifts[name], labels, seeds))
    facts = {
        "command": "python experiments/studies/shift.py",
        "planned": len(wanted) * len(arguments.seeds),
        "finished": finished,
        "home": HOME,
        "foreign": FOREIGN,
        "steps": STEPS,
        "rates": RATES,
        "versions": versions(),
        "environment": environment(),
    }
    write(settings, facts, arguments.results)
    print(page(settings, facts))


if __name__ == "__main__":
    main()
