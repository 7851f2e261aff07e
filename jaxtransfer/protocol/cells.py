"""One cell of a ladder: one rung, one learning rate, one seed, trained and predicted, with all it leaves behind.

A cell is done when its `cell.json` stands; a killed ladder runs only the cells that lack one.
"""

import dataclasses
import json
import math
import pathlib
import shutil
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxtransfer import partition, trees
from jaxtransfer.adapt import from_description, package
from jaxtransfer.adapt.adapted import Adapted, adapt
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.source import class_values
from jaxtransfer.errors import EvaluationError, TrainingError, WorkdirError
from jaxtransfer.evaluation import baselines, metrics
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import cell_facts
from jaxtransfer.protocol.cell_facts import cell_name as cell_name
from jaxtransfer.protocol.problem import TRAIN, TUNE
from jaxtransfer.protocol.sections import RungSettings
from jaxtransfer.protocol.training import BATCH, method_of, rates_of, train_rung
from jaxtransfer.protocol.workbench import Workbench
from jaxtransfer.protocol.workdir import write_json, write_text
from jaxtransfer.train.predict import extract_features, predict
from jaxtransfer.train.progress import Progress

BASELINE_FACTS: Mapping[str, Any] = {
    "rules": [],
    "trainable": 0,
    "cost": {"seconds": 0.0, "flops": 0.0, "peak_bytes": 0},
    "steps": 0,
}
FILES = ("predictions.npz", cell_facts.HISTORY)
"""What a cell that did not diverge leaves besides its facts."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """What one run of one rung left behind.

    Attributes:
      directory: where it stands.
      facts: the content of `cell.json`: rung, learning rate, seed, tuning metric, trainable
        parameters, rules, method, cost.
    """

    directory: pathlib.Path
    facts: Mapping[str, Any]

    @property
    def predictions(self) -> Predictions:
        """The cell's predictions table; WorkdirError if it is damaged."""
        try:
            return Predictions.load(self.directory / "predictions.npz")
        except EvaluationError as error:
            raise WorkdirError(f"{error}; {cell_facts.again(self.directory)}") from None


def check_rung(rung: RungSettings) -> None:
    """Finds what is wrong with a rung before anything runs; raises as `method_of` and `rates_of`."""
    if not rung.is_baseline and not rung.is_ensemble:
        method_of(rung)
    rates_of(rung)


def load_cell(directory: pathlib.Path) -> Cell | None:
    """The cell that stands in a directory, or None if it is not finished or a file of it is gone.

    Raises:
      WorkdirError: if `cell.json` is damaged or another cell's, or its history is damaged.
    """
    if not (directory / cell_facts.FILE).is_file():
        return None
    facts = cell_facts.read(directory)
    is_whole = facts["diverged"] or all((directory / name).is_file() for name in FILES)
    if is_whole and not facts["diverged"]:
        cell_facts.check_history(directory)
    return Cell(directory=directory, facts=facts) if is_whole else None


def run_cell(
    bench: Workbench,
    rung: RungSettings,
    directory: pathlib.Path,
    *,
    learning_rate: float | None,
    seed: int,
    only_tune: bool = False,
    saves_adapter: bool = False,
    checkpoint_every: int = 0,
    progress: Progress | None = None,
) -> Cell:
    """Trains and predicts one cell; `cell.json` is written last, when all the rest is there.

    Args:
      bench: what cells share.
      rung: what to run.
      directory: the cell's own.
      learning_rate: None for a baseline.
      seed: of head, new leaves, data order and dropout.
      only_tune: predict the tuning half alone, for a trial of a learning rate.
      saves_adapter: whether to write the trained leaves as a shareable `adapter/`.
      checkpoint_every: steps between checkpoints; 0 writes none.
      progress: as for `train.loop.train`.

    Returns:
      The cell.

    Raises:
      TrainingError: if the loss is no finite number; a trial (`only_tune`) says so in its facts
        instead, since a rate that diverges is an answer.
    """
    began = time.perf_counter()
    directory.mkdir(parents=True, exist_ok=True)
    adapted, history = None, []
    metric = bench.problem.settings.acceptance.metric
    facts = {
        **BASELINE_FACTS,
        "method": {"method": rung.method},
        "rung": rung.name,
        "learning_rate": learning_rate,
        "seed": seed,
        "diverged": "",
        "tuning": {"metric": metric, "value": None},
    }
    examples, split_names = _examples(bench, only_tune)
    if rung.is_baseline:
        logits, adapted = _baseline(bench, rung, examples)
    else:
        training = time.perf_counter()
        try:
            trained, recipe = train_rung(
                bench,
                rung,
                learning_rate=learning_rate,
                seed=seed,
                workdir=directory / "train" if checkpoint_every else None,
                draws_curve=not only_tune,
                checkpoint_every=checkpoint_every,
                progress=progress,
            )
        except TrainingError as error:
            if not only_tune:
                raise
            return _finish(directory, {**facts, "diverged": str(error)}, began)
        # What earlier processes of a resumed training took counts too.
        began -= trained.cost.wall_seconds - (time.perf_counter() - training)
        adapted, history = trained.adapted, trained.history
        logits = predict(
            adapted,
            trained.variables,
            examples,
            batch_size=BATCH,
            cache=bench.cache,
            precision=recipe.precision,
            compiled=bench.compiled,
        )
        facts |= facts_of(adapted, rung) | {
            "cost": dataclasses.asdict(trained.cost),
            "steps": trained.steps,
        }
    table = Predictions(
        ids=examples.ids,
        labels=examples.labels.astype(np.int64),
        logits=logits.astype(np.float32),
        classes=bench.problem.classes,
        split=split_names,
    )
    facts["tuning"] = {"metric": metric, "value": metrics.value(table.select(TUNE), metric)}
    table.save(directory / "predictions.npz")
    # A random encoder is no base that an adapter could be loaded onto.
    if adapted is not None and saves_adapter and not rung.is_reference:
        package.save(
            adapted,
            directory / "adapter",
            classes=class_values(bench.problem.classes),
            base_hash=bench.problem.hashes["base"],
        )
    write_text(directory / "history.jsonl", "".join(_line(row) for row in history))
    return _finish(directory, facts, began)


def _finish(directory: pathlib.Path, facts: Mapping[str, Any], began: float) -> Cell:
    done = {**facts, "wall_seconds": time.perf_counter() - began}
    write_json(directory / cell_facts.FILE, done)
    return Cell(directory=directory, facts=done)


def copy_adapter(cell: Cell, workdir: pathlib.Path) -> None:
    """Copies a cell's adapter to the work directory's own; a baseline has none, and none stays."""
    copy_adapters({"adapter": cell}, workdir)


def copy_adapters(found: Mapping[str, Cell], workdir: pathlib.Path) -> None:
    """Copies cells' adapters into the work directory, by the name of the copy; no other copy stays."""
    for old in ("adapter", "adapters"):
        shutil.rmtree(workdir / old, ignore_errors=True)
    for name, cell in found.items():
        if (cell.directory / "adapter").is_dir():
            shutil.copytree(cell.directory / "adapter", workdir / name)


def _examples(bench: Workbench, only_tune: bool) -> tuple[Examples, np.ndarray]:
    problem = bench.problem
    if only_tune:
        examples = problem.examples[TUNE]
        return examples, np.full(len(examples), TUNE)
    return problem.evaluated, problem.evaluated_splits


def facts_of(adapted: Adapted, rung: RungSettings) -> dict[str, Any]:
    """Method, rules and number of trainable parameters, as `cell.json` holds them."""
    trainable, _ = partition.split(adapted.variables, adapted.labels)
    leaves = trees.flatten_variables(trainable).values()
    return {
        "method": method_of(rung).describe(),
        "rules": [[rule.pattern, rule.value] for rule in adapted.rules],
        "trainable": int(sum(np.prod(leaf.shape) for leaf in leaves)),
    }


def _baseline(
    bench: Workbench, rung: RungSettings, examples: Examples
) -> tuple[np.ndarray, Adapted | None]:
    """Logits, and the same as a network where the baseline is a linear head on frozen features."""
    problem = bench.problem
    train, classes = problem.examples[TRAIN], problem.task.outputs
    if rung.method == "majority_class":
        return baselines.majority_class(train.labels, classes=classes, queries=len(examples)), None
    import jax

    # The probe's cut of the network: everything below the head is frozen, so features are cached.
    probe = adapt(
        problem.model(0), from_description({"method": "linear_probe"}), rng=jax.random.key(0)
    )
    found, queries = (
        extract_features(
            probe,
            probe.variables,
            part,
            batch_size=BATCH,
            cache=bench.cache,
            compiled=bench.compiled,
        )
        for part in (train, examples)
    )
    kernel, bias = baselines.nearest_mean_head(found, train.labels, classes=classes)
    head = {name: jax.numpy.float32(leaf) for name, leaf in (("kernel", kernel), ("bias", bias))}
    params = {**probe.variables["params"], "head": head}
    logits = baselines.nearest_class_mean(found, train.labels, queries, classes=classes)
    return logits, dataclasses.replace(probe, variables={**probe.variables, "params": params})


def _line(row: Mapping[str, float]) -> str:
    plain = {name: None if math.isnan(value) else value for name, value in row.items()}
    return json.dumps(plain) + "\n"
