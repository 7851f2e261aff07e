"""Examines the chosen rung of a finished ladder: what the ladder itself does not need, and its user does.

Corruptions, outliers, slices, groups, label errors, leakage, recalibration, flips, serving cost and the
front of metric and cost; `examination.json` holds them, and the report shows them.
"""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer.adapt import package
from jaxtransfer.adapt.adapted import Adapted, adapt
from jaxtransfer.adapt.method import from_description
from jaxtransfer.data import corruptions
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.leakage import leakage, split_tables
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table
from jaxtransfer.errors import ConfigError, WorkdirError
from jaxtransfer.evaluation.brier import brier_decomposition
from jaxtransfer.evaluation.calibration import reliability
from jaxtransfer.evaluation.cross_fitting import cross_fitted_probabilities
from jaxtransfer.evaluation.errors import flips
from jaxtransfer.evaluation.features import Features
from jaxtransfer.evaluation.intersections import by_every_group
from jaxtransfer.evaluation.label_errors import find_label_errors
from jaxtransfer.evaluation.outlier_metrics import compare_detectors
from jaxtransfer.evaluation.outliers import fit_detectors
from jaxtransfer.evaluation.pareto import Candidate, pareto
from jaxtransfer.evaluation.recalibration import before_and_after
from jaxtransfer.evaluation.robustness import robustness
from jaxtransfer.evaluation.slice_candidates import cut_at_quantiles
from jaxtransfer.evaluation.slices import find_slices
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol import manifest
from jaxtransfer.protocol import settings as settings_of
from jaxtransfer.protocol.extent import Extent
from jaxtransfer.protocol.learnt import sentences
from jaxtransfer.protocol.problem import CALIBRATION, TEST, TRAIN, Problem, prepare
from jaxtransfer.protocol.record import read as read_record
from jaxtransfer.protocol.sample_efficiency import sample_efficiency
from jaxtransfer.protocol.workdir import read_run, write_json
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.predict import extract_features
from jaxtransfer.train.predict import run as run_network
from jaxtransfer.train.serving import measure_serving_cost

SCHEMA = 1
BATCH = 50
FILE = "examination.json"
FEWEST_TO_SEARCH = 100
"""Test examples below which no slices are searched: half of them could not confirm one."""
FEATURES = "features.npz"
"""Features and logits of what trained nothing: a reference for `jaxtransfer monitor fit`."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The rung in question: its network of the first seed, and its tables of all seeds."""

    problem: Problem
    workdir: pathlib.Path
    record: Mapping[str, Any]
    rung: Mapping[str, Any]
    adapted: Adapted
    tables: Sequence[Predictions]
    extent: Extent
    compiled: CompiledSteps

    @property
    def test(self) -> Table:
        """The test split."""
        return self.problem.table.take(self.problem.splits[TEST])

    def network(self, table: Table) -> dict[str, np.ndarray]:
        """Logits and features of raw examples."""
        return run_network(
            self.adapted,
            self.adapted.variables,
            Examples(table, self.problem.encoder.preprocess),
            batch_size=BATCH,
            compiled=self.compiled,
        )

    def predictions(self, table: Table) -> Predictions:
        """Predictions of raw labelled examples."""
        assert table.labels is not None
        return Predictions(
            ids=table.ids,
            labels=table.labels,
            logits=self.network(table)["logits"],
            classes=self.problem.classes,
        )

    def features(self, table: Table, name: str, *, labelled: bool = True) -> Features:
        """Features and logits of raw examples."""
        found = self.network(table)
        return Features(
            ids=table.ids,
            features=found["features"],
            logits=found["logits"],
            labels=table.labels if labelled else None,
            source=name,
        )

    def frozen(self, table: Table) -> Features:
        """What the pretrained encoder gives, before any adaptation."""
        probe = adapt(
            self.problem.model(0),
            from_description({"method": "linear_probe"}),
            rng=jax.random.key(0),
        )
        found = extract_features(
            probe,
            probe.variables,
            Examples(table, self.problem.encoder.preprocess),
            batch_size=BATCH,
            compiled=self.compiled,
        )
        return Features(ids=table.ids, features=found, labels=table.labels, source="frozen encoder")


def examine(
    workdir: pathlib.Path,
    extent: Extent,
    *,
    rung: str | None = None,
    command: str = "",
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> dict[str, Any]:
    """Examines one rung and writes `examination.json` into the work directory.

    Args:
      workdir: of a finished ladder.
      extent: how much to examine.
      rung: its name; the chosen one if left out.
      command: how this was called, for the record.
      say: what tells of progress.

    Raises:
      WorkdirError: if the ladder is not finished, its manifest is damaged, or data, splits or weights are not
        those it ran on.
      ConfigError: if the rung is unknown, or has no network to examine (the majority class).
    """
    subject = subject_of(workdir, extent, rung)
    metric = subject.record["task"]["metric"]
    parts: dict[str, Any] = {
        "schema": SCHEMA,
        "rung": subject.rung["name"],
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command,
        "split": TEST,
        "seeds": list(subject.rung["seeds"]),
        "metric": metric,
    }
    for name, part in (
        ("calibration", _calibration),
        ("groups and slices", _groups),
        ("errors, labels and leakage", _errors),
        ("sample efficiency", _growth),
        ("serving cost", _cost),
        ("outliers", _outliers),
        ("corruptions", _robustness),
    ):
        say(f"examining {subject.rung['name']}: {name}")
        parts |= part(subject)
    parts["summary"] = sentences(parts)
    write_json(workdir / FILE, parts)
    _held_out_features(subject).save(workdir / FEATURES)
    manifest.renew(workdir, [FILE, FEATURES])
    return parts


def subject_of(workdir: pathlib.Path, extent: Extent, rung: str | None) -> Subject:
    """Reads the rung in question; nothing is written. Errors as of `examine`."""
    record, facts = read_record(workdir), read_run(workdir) or {}
    if (workdir / manifest.FILE).is_file():
        # What is found is entered into it at the end.
        manifest.read(workdir)
    problem = prepare(settings_of.from_json(facts.get("config")))
    for name, value in problem.hashes.items():
        began = facts.get("hashes", {}).get(name)
        if began != value:
            raise WorkdirError(
                f"{workdir} was run on other {name} (hash {began}) than there"
                f" are now ({value}): examine it where its data and weights are"
            )
    names = [one["name"] for one in record["rungs"]]
    wanted = record["chosen"] if rung is None else rung
    if wanted not in names:
        raise ConfigError(f"{workdir} has no rung {wanted!r}; it has {names}")
    found = next(one for one in record["rungs"] if one["name"] == wanted)
    first = found["seeds"][0]
    cells = sorted((workdir / "cells" / wanted).glob(f"run-*seed{first}"))
    adapters = [cell / "adapter" for cell in cells if (cell / "adapter").is_dir()]
    if not adapters and found["method"].get("of"):
        members = found["method"]["of"]
        raise ConfigError(
            f"rung {wanted!r} averages the seeds of {members!r} and has no network of its own to examine:"
            f" examine its members, with --rung {members}"
        )
    if not adapters:
        raise ConfigError(
            f"rung {wanted!r} has no network to examine; name one that has, with --rung"
        )
    adapted, _ = package.load(adapters[0], problem.encoder)
    paths = [workdir / "predictions" / f"{wanted}-seed{seed}.npz" for seed in found["seeds"]]
    return Subject(
        problem=problem,
        workdir=workdir,
        record=record,
        rung=found,
        adapted=adapted,
        tables=[Predictions.load(path) for path in paths],
        extent=extent,
        compiled=CompiledSteps(),
    )


def _held_out_features(subject: Subject) -> Features:
    """Of the calibration and the test split."""
    problem = subject.problem
    names = [name for name in (CALIBRATION, TEST) if name in problem.splits]
    rows = np.concatenate([problem.splits[name] for name in names])
    found = subject.features(problem.table.take(rows), "held out")
    split = np.repeat(names, [len(problem.splits[name]) for name in names])
    return dataclasses.replace(found, split=split)


def _calibration(subject: Subject) -> dict[str, Any]:
    test = [table.select(TEST) for table in subject.tables]
    found: dict[str, Any] = {"brier": brier_decomposition(test[0]).to_json()}
    diagrams = {"before": reliability(test[0]).to_json()}
    if CALIBRATION in subject.problem.splits:
        held_out = [table.select(CALIBRATION) for table in subject.tables]
        scaled = before_and_after(held_out, test)
        found["recalibration"] = {name: one.to_json() for name, one in scaled.items()}
        diagrams |= {name: reliability(one.tables[0]).to_json() for name, one in scaled.items()}
    return found | {"reliability": diagrams}


def _groups(subject: Subject) -> dict[str, Any]:
    """Groups of the data's own metadata and of the input's size; slices of those and of clusters."""
    test, table = subject.test, subject.tables[0].select(TEST)
    size, name = _size_of_inputs(test)
    columns = {key: np.asarray(column, np.str_) for key, column in test.metadata.items()}
    columns = {key: column for key, column in columns.items() if 1 < len(set(column)) <= 20}
    if len(set(size)) > 1:
        columns[name] = cut_at_quantiles(size, 4, name=name)
    grouped = dataclasses.replace(table, groups=columns)
    metrics = list(dict.fromkeys(["accuracy", subject.record["task"]["metric"], "nll"]))
    reports = by_every_group(grouped, metrics)
    found = {"groups": {key: report.to_json() for key, report in reports.items()}}
    if len(test) < FEWEST_TO_SEARCH:
        # Two halves, and in each a slice and its rest of twenty.
        return found
    features = subject.network(test)["features"]
    slices = find_slices(grouped, embeddings=features, clusters=8)
    return found | {"slices": slices.to_json()}


def _errors(subject: Subject) -> dict[str, Any]:
    problem = subject.problem
    test, table = subject.test, subject.tables[0].select(TEST)
    labels = test.labels
    assert labels is not None
    # Features of the frozen encoder have not seen a label; each probe has not seen its fold's.
    p = cross_fitted_probabilities(subject.frozen(test).features, labels, len(problem.classes))
    out = Predictions(
        ids=test.ids,
        labels=labels,
        logits=np.log(np.maximum(p, np.finfo(float).tiny)),
        classes=problem.classes,
        normalised=True,
        source="probe on frozen features, cross-fitted on the test split",
    )
    found = {"label_errors": find_label_errors(out, out_of_sample=True).to_json()}
    parts = {name: rows for name, rows in problem.splits.items() if name != "rest"}
    near = "texts" if isinstance(test.inputs[0], str) else "images"
    found["leakage"] = leakage(split_tables(problem.table, parts), near=near).to_json()  # type: ignore[arg-type]
    other = _other_rung(subject)
    if other is not None:
        seed = other["seeds"][0]
        path = subject.workdir / "predictions" / f"{other['name']}-seed{seed}.npz"
        compared = flips(Predictions.load(path).select(TEST), table)
        found["flips"] = {"of": other["name"], **compared.to_json()}
    return found


def _other_rung(subject: Subject) -> Mapping[str, Any] | None:
    """What the rung is compared with: the linear probe, or the rung before it."""
    rungs = [one for one in subject.record["rungs"] if one["name"] != subject.rung["name"]]
    probes = [one for one in rungs if one["method"].get("method") == "linear_probe"]
    return next(iter([*probes, *reversed(rungs)]), None)


def _growth(subject: Subject) -> dict[str, Any]:
    problem = subject.problem
    train, test = (
        subject.frozen(problem.table.take(problem.splits[name])) for name in (TRAIN, TEST)
    )
    task = subject.record["task"]
    found = sample_efficiency(
        train,
        test,
        classes=problem.classes,
        metric=task["metric"],
        confidence=task["confidence"],
    )
    return {"sample_efficiency": found}


def _cost(subject: Subject) -> dict[str, Any]:
    test = subject.test
    raw = [test.inputs[row] for row in range(min(32, len(test)))]
    cost = measure_serving_cost(subject.adapted, raw, (1, min(32, len(raw))), repetitions=40)
    candidates = []
    for rung in subject.record["rungs"]:
        paths = [
            subject.workdir / "predictions" / f"{rung['name']}-seed{seed}.npz"
            for seed in rung["seeds"]
        ]
        candidates.append(
            Candidate(
                name=rung["name"],
                tables=[Predictions.load(path).select(TEST) for path in paths],
                costs={
                    "trainable parameters": float(rung["trainable"]),
                    "training seconds": float(rung["cost"].get("train_seconds") or 0.0),
                },
            )
        )
    front = pareto(candidates, subject.record["task"]["metric"])
    return {"serving": {subject.rung["name"]: cost.to_json()}, "pareto": front.to_json()}


def _outliers(subject: Subject) -> dict[str, Any]:
    if not subject.extent.outliers:
        return {}
    problem = subject.problem
    train = subject.features(problem.table.take(problem.splits[TRAIN]), "train")
    inliers = subject.features(subject.test, "test")
    sets: dict[str, tuple[Any, Features]] = {}
    for name, (distance, data) in subject.extent.outliers.items():
        table = load_table(dict(data))
        rows = np.random.default_rng(subject.extent.seed).permutation(len(table))
        table = table.take(np.sort(rows[: subject.extent.examples]))
        sets[name] = (distance, subject.features(table, name, labelled=False))
    k = max(1, min(10, len(train) // 5))
    head = subject.adapted.variables["params"]["head"]
    weights = (np.asarray(head["kernel"], np.float64), np.asarray(head["bias"], np.float64))
    detectors = fit_detectors(train, k=k, head=weights)
    found = compare_detectors(detectors, inliers, sets, reference=train)
    return {"outliers": [one.to_json() for one in found]}


def _robustness(subject: Subject) -> dict[str, Any]:
    extent = subject.extent
    test = subject.test
    clean = test.take(np.arange(min(extent.examples, len(test))))
    of = "text" if isinstance(clean.inputs[0], str) else "image"
    kinds = extent.kinds or tuple(corruptions.CORRUPTIONS[of])
    # Images of several sizes are brought to the network's size first, so that one program serves.
    size = getattr(subject.problem.encoder.preprocess, "size", None) if of == "image" else None
    tables = {}
    for kind in kinds:
        for severity in extent.severities:
            changed = corruptions.corrupted(
                clean, kind=kind, severity=severity, seed=extent.seed, size=size
            )
            tables[kind, severity] = subject.predictions(changed)
    if size is not None:
        clean = corruptions.corrupted(clean, kind=kinds[0], severity=0, seed=extent.seed, size=size)
    metric = subject.record["task"]["metric"]
    found = robustness(subject.predictions(clean), tables, metric, seed=extent.seed)
    return {"robustness": found.to_json()}


def _size_of_inputs(table: Table) -> tuple[np.ndarray, str]:
    """Words of each text, or the mean brightness of each image."""
    rows = [table.inputs[row] for row in range(len(table))]
    if isinstance(rows[0], str):
        return np.array([len(text.split()) for text in rows], float), "words"
    return np.array([float(np.asarray(image).mean()) for image in rows]), "brightness"
