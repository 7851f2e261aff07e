"""`jaxtransfer diagnose`: a catalogue card of the task before any training, and the ladder it suggests.

Labels of the training split and of the tuning half are read, and no others; the inputs of every
split are, to compare them.
"""

import pathlib
import pprint
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer import trees
from jaxtransfer.adapt.adapted import adapt
from jaxtransfer.adapt.method import from_description
from jaxtransfer.analyse.distance import Distance, distances
from jaxtransfer.analyse.layers import LayerAnalysis, analyse_layers
from jaxtransfer.analyse.probes import LINEAR_PROBE, NEAREST_MEAN
from jaxtransfer.analyse.reference_statistics import distance_from_source
from jaxtransfer.analyse.transferability import transferability
from jaxtransfer.data.examples import Examples
from jaxtransfer.data.load import load_table
from jaxtransfer.data.source import Table
from jaxtransfer.errors import ConfigError
from jaxtransfer.evaluation.correction import holm
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.protocol import manifest
from jaxtransfer.protocol.config_text import in_docstring, with_tuples
from jaxtransfer.protocol.problem import TRAIN, TUNE, Problem, prepare
from jaxtransfer.protocol.recommending import ALPHA, Facts, recommend
from jaxtransfer.protocol.settings import LadderSettings
from jaxtransfer.protocol.task_card import task_card
from jaxtransfer.protocol.workdir import DIAGNOSED, write_json, write_text
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.predict import extract_features, run
from jaxtransfer.trees import PARAMS

SCHEMA = 1
FILE, CONFIG = DIAGNOSED
BATCH = 50
ROWS = 500
"""At most so many examples of a split or a domain are compared with another's."""


def diagnose(
    settings: LadderSettings,
    *,
    candidates: Sequence[str] = (),
    domains: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Diagnoses a task.

    Args:
      settings: of the ladder that is in question.
      candidates: URIs of further backbones, beside the config's own.
      domains: name to the data (a config's `data`) of another domain, whose labels are not read.
      seed: of folds, draws and permutations.
      command: how this was called.
      say: what tells of progress.

    Returns:
      Plain values, as `diagnosis.json` holds them; `recommended` is the suggested ladder.

    Raises:
      ConfigError: if a candidate is named twice.
      JaxTransferError: whatever is wrong with data, splits or a model.
    """
    uris = [settings.model.uri, *candidates]
    if len(set(uris)) != len(uris):
        raise ConfigError(f"candidates {uris} repeat; name each backbone once")
    say("diagnosing: data and splits")
    problem = prepare(settings)
    encoders = {settings.model.uri: problem.encoder} | {
        uri: candidate(settings, uri) for uri in candidates
    }
    for encoder in encoders.values():
        Examples(problem.table, encoder.preprocess).inputs([0])
    compiled = CompiledSteps()
    labelled = problem.table.take(np.concatenate([problem.splits[n] for n in (TRAIN, TUNE)]))
    assert labelled.labels is not None
    labels, classes = labelled.labels.astype(np.int64), len(problem.classes)
    say("diagnosing: features of the splits")
    features = _features(problem.encoder, problem.table, classes, compiled)
    own = features[_positions(problem.table, labelled)]
    card = task_card(problem, own, labels, seed)
    say("diagnosing: distances")
    measured = _distances(problem, features, domains or {}, classes, compiled, seed)
    source, layers = distance_from_source(problem.encoder, problem.examples[TRAIN])
    say("diagnosing: backbones")
    backbones = [
        _backbone(problem, uri, encoder, labelled, own if uri == uris[0] else None, compiled, seed)
        for uri, encoder in encoders.items()
    ]
    say("diagnosing: stages")
    analysed = _analysed(problem, labelled, classes, compiled, seed)
    best = _best(backbones)
    suggested = recommend(
        _facts(problem, card, backbones[0], measured, analysed),
        model=settings.model.uri,
    )
    return {
        "schema": SCHEMA,
        "name": settings.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command,
        "config_hash": settings.hash,
        "hashes": dict(problem.hashes),
        "seed": seed,
        "facts": card["facts"],
        "card": {key: value for key, value in card.items() if key != "facts"},
        "distances": measured,
        "source": {
            "distance": source.to_json(),
            "layers": [layer.to_json() for layer in layers],
        },
        "backbones": backbones,
        "best_backbone": best,
        "layers": None if analysed is None else analysed.to_json(),
        "recommended": suggested.to_json(),
    }


def write(found: Mapping[str, Any], settings: LadderSettings, workdir: pathlib.Path) -> None:
    """Writes `diagnosis.json`, and `recommended.py`, a config that `jaxtransfer ladder` takes."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / FILE, found)
    write_text(workdir / CONFIG, recommended_config(found, settings, diagnosis=str(workdir / FILE)))
    manifest.renew(workdir, [FILE, CONFIG])


def recommended_config(
    found: Mapping[str, Any], settings: LadderSettings, *, diagnosis: str | None = None
) -> str:
    """The text of a config file with the recommended rungs, all else as in the settings.

    Args:
      found: the diagnosis.
      settings: of the ladder that was diagnosed.
      diagnosis: file of the diagnosis, whose facts rungs may ask for.
    """
    suggested = found["recommended"]
    known = {rung.name: rung for rung in (*settings.rungs, *settings.spare)}
    methods = {}
    for name in suggested["rungs"]:
        values = dict(suggested["methods"][name])
        same = [rung for rung in known.values() if rung.method == values["method"]]
        # Rates that the user has set for a method are kept.
        if same and same[0].learning_rates:
            values["learning_rates"] = list(same[0].learning_rates)
        if same and same[0].first_phase:
            values["first_phase"] = dict(same[0].first_phase)
        methods[name] = values
    document = settings.to_json()
    document.pop("references", None)
    document |= {"rungs": list(suggested["rungs"]), "methods": methods}
    document["diagnosis"] = diagnosis
    reasons = "\n".join(f"- {name}: {why}." for name, why in suggested["reasons"].items())
    remarks = "\n".join(f"- {remark}." for remark in suggested["remarks"])
    text = pprint.pformat(with_tuples(document), width=100, sort_dicts=False)
    return (
        f'"""The ladder that the diagnosis of {settings.name} recommends.\n\n'
        "    jaxtransfer ladder --config recommended.py --workdir runs/recommended\n\n"
        f'{in_docstring(reasons)}\n\n{in_docstring(remarks)}\n"""\n\n'
        "from ml_collections import ConfigDict\n\n\n"
        f"def get_config() -> ConfigDict:\n    return ConfigDict(\n{_indented(text)}\n    )\n"
    )


def _indented(text: str) -> str:
    return "\n".join(f"        {line}" for line in text.splitlines())


def _positions(table: Table, part: Table) -> np.ndarray:
    places = {name: row for row, name in enumerate(table.ids.tolist())}
    return np.array([places[name] for name in part.ids.tolist()])


def _features(encoder: Model, table: Table, classes: int, compiled: CompiledSteps) -> np.ndarray:
    """What the frozen encoder gives each example, (n, d)."""
    model = with_head(encoder, classes, rng=jax.random.key(0))
    probe = adapt(model, from_description({"method": "linear_probe"}), rng=jax.random.key(0))
    return extract_features(
        probe,
        probe.variables,
        Examples(table, encoder.preprocess),
        batch_size=BATCH,
        compiled=compiled,
    )


def _distances(
    problem: Problem,
    features: np.ndarray,
    domains: Mapping[str, Mapping[str, Any]],
    classes: int,
    compiled: CompiledSteps,
    seed: int,
) -> list[dict[str, Any]]:
    """Training inputs beside those of every other split and domain, corrected for their number."""
    rng = np.random.default_rng(seed)
    sets = {
        name: features[rows]
        for name, rows in problem.splits.items()
        if name not in (TRAIN, "rest") and len(rows)
    }
    # The training split is small: what trained nothing and chooses nothing stands for its domain too.
    own = features[
        np.concatenate([problem.splits[n] for n in (TRAIN, "rest") if n in problem.splits])
    ]
    for name, data in domains.items():
        table = load_table(dict(data))
        table = table.take(np.sort(rng.permutation(len(table))[:ROWS]))
        sets[name] = _features(problem.encoder, table, classes, compiled)
    found: list[tuple[str, tuple[Distance, ...]]] = [
        (name, distances(own, other, rows=ROWS, permutations=499, seed=seed))
        for name, other in sets.items()
    ]
    tested = [(name, d) for name, each in found for d in each if d.p_value is not None]
    adjusted = dict(
        zip(
            [(name, d.name) for name, d in tested],
            holm([float(d.p_value) for _, d in tested]) if tested else [],  # type: ignore[arg-type]
        )
    )
    return [
        {
            "of": "the training split and the rest",
            "to": name,
            "is_domain": name in domains,
            "measures": [
                {**d.to_json(), "p_adjusted": _number(adjusted.get((name, d.name)))} for d in each
            ],
            "differs": any(
                (adjusted.get((name, d.name)) or 0.0) <= ALPHA and (name, d.name) in adjusted
                for d in each
            ),
        }
        for name, each in found
    ]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def candidate(settings: LadderSettings, uri: str) -> Model:
    """A further backbone, with the options of the config's own.

    Raises:
      ConfigError: if it does not take those options, as an encoder of images none of texts.
      PretrainedError: if there is no such model.
    """
    return zoo.load(uri, **settings.model.options)


def _backbone(
    problem: Problem,
    uri: str,
    encoder: Model,
    labelled: Table,
    features: np.ndarray | None,
    compiled: CompiledSteps,
    seed: int,
) -> dict[str, Any]:
    """Scores of one backbone; the features of the config's own are there already."""
    classes = len(problem.classes)
    if features is None:
        features = _features(encoder, labelled, classes, compiled)
    assert labelled.labels is not None
    scores = transferability(
        features,
        labelled.labels.astype(np.int64),
        classes,
        parameters=_parameters(encoder),
        source_probabilities=_source_probabilities(problem, uri, labelled, compiled),
        seed=seed,
    )
    return {"uri": uri, "scores": [score.to_json() for score in scores]}


def _parameters(model: Model) -> int:
    leaves = trees.flatten(model.variables[PARAMS]).values()
    return int(sum(np.prod(leaf.shape) for leaf in leaves))


def _source_probabilities(
    problem: Problem, uri: str, labelled: Table, compiled: CompiledSteps
) -> np.ndarray | None:
    """What the backbone's own classifier says, where its checkpoint has one."""
    if not zoo.has_classifier(uri):
        return None
    model = zoo.load(uri, **{**problem.settings.model.options, "classifier": True})
    probe = adapt(model, from_description({"method": "linear_probe"}), rng=jax.random.key(0))
    found = run(
        probe,
        probe.variables,
        Examples(labelled, model.preprocess),
        batch_size=BATCH,
        compiled=compiled,
    )
    return np.asarray(jax.nn.softmax(np.asarray(found["logits"], np.float32), axis=-1), np.float64)


def _best(backbones: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """By score, the backbone that it ranks first; None where no backbone has it."""
    names = [score["name"] for score in backbones[0]["scores"]]
    best: dict[str, str | None] = {}
    for place, name in enumerate(names):
        known = [
            (backbone["scores"][place]["value"], backbone["uri"])
            for backbone in backbones
            if backbone["scores"][place]["value"] is not None
        ]
        best[name] = max(known)[1] if known else None
    return best


def _analysed(
    problem: Problem, labelled: Table, classes: int, compiled: CompiledSteps, seed: int
) -> LayerAnalysis | None:
    if not problem.encoder.stages:
        return None
    examples = Examples(labelled, problem.encoder.preprocess)
    return analyse_layers(
        problem.encoder, examples, classes, seed=seed, batch_size=BATCH, compiled=compiled
    )


def _facts(
    problem: Problem,
    card: Mapping[str, Any],
    backbone: Mapping[str, Any],
    measured: Sequence[Mapping[str, Any]],
    analysed: LayerAnalysis | None,
) -> Facts:
    facts = card["facts"]
    scores = {score["name"]: score for score in backbone["scores"]}
    probe, means = scores[LINEAR_PROBE], scores[NEAREST_MEAN]
    interval = probe.get("interval")
    return Facts(
        labels_per_class=facts["labels_per_class"],
        train=facts["train_labels"],
        probe=probe["value"],
        probe_interval=None if interval is None else (interval[0], interval[1]),
        nearest_mean=means["value"],
        noise=facts["label_noise"],
        shifted=tuple(one["to"] for one in measured if one["differs"]),
        readings={}
        if analysed is None
        else {stage.stage: stage.reading for stage in analysed.stages},
        has_statistics="batch_stats" in problem.encoder.variables,
    )
