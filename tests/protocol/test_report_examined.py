"""The report of an examined ladder: each part in its section, undefined ones with their reasons."""

import copy
import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from jaxtransfer.data.leakage import leakage
from jaxtransfer.data.source import Table
from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.brier import brier_decomposition
from jaxtransfer.evaluation.calibration import reliability
from jaxtransfer.evaluation.errors import confused, flips
from jaxtransfer.evaluation.features import Features
from jaxtransfer.evaluation.groups import by_group
from jaxtransfer.evaluation.label_errors import find_label_errors
from jaxtransfer.evaluation.outlier_metrics import compare_detectors
from jaxtransfer.evaluation.outliers import fit_detectors
from jaxtransfer.evaluation.pareto import Candidate, CostSamples, pareto
from jaxtransfer.evaluation.recalibration import before_and_after
from jaxtransfer.evaluation.robustness import robustness
from jaxtransfer.evaluation.slices import find_slices
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.report import (
    doubts,
    examined,
    flipped,
    heatmap,
    label_curves,
    outlier_detection,
    populations,
    read,
    recalibrated,
    render,
    served,
    write_report,
)
from jaxtransfer.protocol.report.examination import FORM
from jaxtransfer.protocol.sample_efficiency import sample_efficiency
from jaxtransfer.train.latency import Latency, quantile
from jaxtransfer.train.serving import BatchCost, Figure, ServingCost

# Test modules are imported by path, so that one cannot name another.
_spec = importlib.util.spec_from_file_location(
    "ladder_report", Path(__file__).with_name("test_report.py")
)
ladder_report = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ladder_report)
Page = ladder_report.Page

KINDS = (
    *("substitution", "deletion", "swap", "keyboard", "ocr", "casing", "whitespace"),
    *("gaussian_noise", "shot_noise", "blur", "contrast", "brightness", "fog", "jpeg"),
)
SECTIONS = {
    "learnt": ("summary",),
    "recalibration": ("recalibration", "reliability", "brier"),
    "sample-efficiency": ("sample_efficiency",),
    "corruptions": ("robustness",),
    "outliers": ("outliers",),
    "groups": ("groups", "slices"),
    "flips": ("flips",),
    "doubts": ("label_errors", "leakage"),
    "serving": ("serving", "pareto"),
}
"""Key of each section, and the parts that it shows."""


BUILDERS = (
    *(examined.learnt, label_curves.sample_efficiency, recalibrated.recalibration),
    *(heatmap.corruptions, outlier_detection.outliers),
    *(populations.groups, flipped.flips, doubts.doubts, served.serving),
)

OF_NO_RUNG = (label_curves.sample_efficiency, flipped.flips, doubts.doubts, served.serving)
"""Sections whose introduction need not say which rung was examined."""


def noisier(table, scale, seed):
    rng = np.random.default_rng(seed)
    logits = table.logits + scale * rng.normal(size=table.logits.shape).astype(np.float32)
    return dataclasses.replace(table, logits=logits)


def make_examination(workdir):
    """What `examine` writes, of the work directory's own test predictions."""
    record = json.loads((workdir / "record.json").read_text())
    rung = record["chosen"]
    paths = sorted((workdir / "predictions").glob(f"{rung}-seed*.npz"))
    tables = [Predictions.load(path) for path in paths]
    test, held_out = ([table.select(split) for table in tables] for split in ("test", "accept"))
    scaled = before_and_after(held_out[:1], test[:1], replicates=100)
    corrupted = {
        (kind, severity): noisier(test[0], 0.15 * place * severity, 10 * place + severity)
        for place, kind in enumerate(KINDS)
        for severity in (1, 2, 3, 4, 5)
    }
    return {
        "schema": 1,
        "rung": rung,
        "created": "2026-11-24T09:00:00+0000",
        "command": "jaxtransfer examine runs/demo",
        "split": "test",
        "summary": [
            "Corruptions cost a third of accuracy.",
            "One slice does worse & is confirmed.",
        ],
        "recalibration": {name: one.to_json() for name, one in scaled.items()},
        "reliability": {
            "before": reliability(test[0]).to_json(),
            **{name: reliability(one.tables[0]).to_json() for name, one in scaled.items()},
        },
        "brier": brier_decomposition(test[0]).to_json(),
        "robustness": robustness(test[0], corrupted, replicates=100).to_json(),
        "outliers": [one.to_json() for one in detected(test[0])],
        "label_errors": find_label_errors(test[0]).to_json(),
        "leakage": leakage(shared(), near="texts").to_json(),
        "flips": {"of": "nearest_mean", **flips(noisier(test[0], 1.5, 1), test[0]).to_json()},
        "serving": {rung: served_cost().to_json()},
        "pareto": front(record, test[0]).to_json(),
        "sample_efficiency": grown(test[0].classes),
        **divided(test[0]),
    }


def grown(classes, per_class=10):
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(len(classes), 6))

    def features(count, name):
        labels = np.arange(count) % len(classes)
        return Features(
            ids=np.array([f"{name}{row}" for row in range(count)]),
            features=centres[labels] + 0.9 * rng.normal(size=(count, 6)),
            labels=labels,
        )

    train, test = features(per_class * len(classes), "a"), features(150, "b")
    return sample_efficiency(train, test, classes=classes, metric="macro_f1", confidence=0.95)


def divided(table):
    rng = np.random.default_rng(5)
    n = len(table)
    long = rng.random(n) < 0.3
    # Long documents lose their signal, so that there is a slice to find.
    logits = np.where(
        (long & (rng.random(n) < 0.7))[:, None], rng.normal(size=(n, 5)), table.logits
    )
    logits = logits.astype(np.float32)
    grouped = dataclasses.replace(
        table,
        logits=logits,
        groups={
            "length": np.where(long, "long", "short"),
            "source": np.array([f"source {place}" for place in np.arange(n) % 15]),
            "rare": np.where(np.arange(n) < 4, "rare", "usual"),
        },
    )
    options = {"replicates": 50, "permutations": 20}
    return {
        "groups": {
            name: by_group(grouped, name, ["accuracy", "macro_f1"], **options).to_json()
            for name in grouped.groups
        },
        "slices": find_slices(grouped).to_json(),
    }


def detected(table):
    rng = np.random.default_rng(3)

    def features(name, count, shift):
        values = rng.normal(size=(count, 6)) + shift
        return Features(
            ids=np.array([f"{name}{row}" for row in range(count)]),
            features=values,
            logits=values[:, :5],
            labels=np.arange(count) % 5 if name == "train" else None,
            source=name,
        )

    train = features("train", 80, 0.0)
    weights = (np.eye(6, 5), np.zeros(5))
    detectors = fit_detectors(train, k=5, head=weights)
    sets = {
        "letters": ("far", features("far", 60, 3.0)),
        "tables": ("near", features("near", 60, 1.0)),
    }
    return compare_detectors(detectors, features("test", 90, 0.0), sets, replicates=50)


def shared():
    text = "the same twenty words again and again until a shingle of three of them is surely there"
    return {
        split: Table(
            ids=np.array([f"{split}{row}" for row in range(4)]),
            inputs=[text if row == 0 else f"{split} {row} " + "x y z " * row for row in range(4)],
            labels=np.array([place % 2, 0, 1, 0]),
            classes=("no", "yes"),
        )
        for place, split in enumerate(("train", "test"))
    }


def served_cost():
    rng = np.random.default_rng(2)
    batches = []
    for size in (1, 32):
        samples = tuple((0.004 * size * rng.lognormal(0, 0.1, 40)).tolist())
        quantiles = {
            p: quantile(samples, level, 0.95) for p, level in (("p50", 0.5), ("p95", 0.95))
        }
        latency = Latency(
            batch_size=size,
            warmup=5,
            compile_seconds=0.61,
            first={"total": 0.02},
            quantiles={"total": quantiles},
            samples={"total": samples},
            confidence=0.95,
            notes=("load average 0.8 on 2 processors",),
        )
        figures = {
            "flops": Figure(value=1.4e9 * size, unit="operations", source="compiled"),
            "compiled_peak": Figure(value=9e7, unit="bytes", source="compiled"),
            "rss_peak": Figure(
                value=None, unit="bytes", source="subprocess", reason="no process was started"
            ),
        }
        batches.append(BatchCost(batch_size=size, latency=latency, figures=figures))
    return ServingCost(
        name="encoder",
        method="bitfit",
        device="cpu (cpu)",
        precision="float32",
        figures={
            name: Figure(value=value, unit="bytes", source="leaves")
            for name, value in (
                ("parameters", 22_567_301),
                ("variables_bytes", 90_269_204),
                ("trainable_parameters", 26_117),
                ("trainable_bytes", 104_468),
                ("adapter_file_bytes", 110_439),
            )
        },
        batches=tuple(batches),
    )


def front(record, table):
    rng = np.random.default_rng(4)
    return pareto(
        [
            Candidate(
                name=rung["name"],
                tables=[noisier(table, 2.5 - 0.3 * place, place)],
                costs={
                    "trainable parameters": float(rung["trainable"]),
                    "training seconds": CostSamples(samples=(place + 0.1 * rng.random(5)).tolist()),
                },
            )
            for place, rung in enumerate(record["rungs"])
        ],
        "macro_f1",
        replicates=200,
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = ladder_report.make_workdir(tmp_path_factory.mktemp("examined") / "run")
    (path / "examination.json").write_text(json.dumps(make_examination(path)))
    return path


@pytest.fixture(scope="module")
def found(workdir):
    return json.loads((workdir / "examination.json").read_text())


@pytest.fixture(scope="module")
def text(workdir):
    return write_report(workdir).read_text(encoding="utf-8")


def section(text, key):
    return text.split(f'id="{key}">')[1].split("</section>")[0]


def words(text, key):
    return Page(section(text, key)).words


def rendered(workdir, found):
    return render(dataclasses.replace(read(workdir), examination=found))


def test_every_part_has_its_section_and_stands_or_falls_with_it(workdir, found, text):
    assert set(FORM) == {part for parts in SECTIONS.values() for part in parts}
    assert all(f'id="{key}"' in text and f'href="#{key}"' in text for key in SECTIONS)
    bare = rendered(workdir, None)
    assert not any(f'id="{key}"' in bare for key in SECTIONS)
    data = read(workdir)
    builders = {key: next(b for b in BUILDERS if b(data).key == key) for key in SECTIONS}
    for key, parts in SECTIONS.items():
        head = {k: found[k] for k in ("schema", "rung", "split")}
        without = dataclasses.replace(
            data, examination={k: v for k, v in found.items() if k not in parts}
        )
        assert builders[key](without) is None
        for part in parts:
            alone = dataclasses.replace(data, examination={**head, part: found[part]})
            assert builders[key](alone).key == key
            others = [other for other in SECTIONS if other != key]
            assert not any(builders[other](alone) for other in others)


def test_page_is_well_formed_offline_small_and_every_figure_speaks(text):
    page = Page(text)
    assert page.unbalanced == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert "http" not in text.replace("http-equiv", "")
    assert len(page.scripts) == 1
    figures = page.named("svg")
    assert len(figures) == 4 * 2 + 6 + 4
    assert all(len(f["aria-label"]) > 20 for f in figures)
    regions = [a for _, a in page.elements if a.get("class") == "scroll"]
    assert len(regions) == len(page.named("table"))
    assert all(a["aria-label"] for a in regions)
    assert len(text.encode()) < 2_000_000


def test_text_for_screen_readers_is_clipped_by_the_table_it_is_in(text):
    # Placed absolutely, it would widen the page beyond a narrow screen otherwise.
    assert 'class="hidden"> degrades' in text
    assert re.search(r"\.scroll \{[^}]*position: relative", text)


def test_long_tables_open_on_demand(text):
    class Rows(Page):
        counts, folds = {}, 0

        def handle_starttag(self, tag, attrs):
            super().handle_starttag(tag, attrs)
            self.folds += tag == "details"
            if tag == "table":
                self.key = len(self.counts)
                self.counts[self.key] = [0, self.folds > 0]
            if tag == "tr":
                self.counts[self.key][0] += 1

        def handle_endtag(self, tag):
            super().handle_endtag(tag)
            self.folds -= tag == "details"

    counts = {}
    for key in SECTIONS:
        Rows.counts = {}
        Rows(section(text, key))
        counts[key] = [rows - 1 for rows, is_folded in Rows.counts.values() if not is_folded]
    assert all(rows <= 12 for shown in counts.values() for rows in shown)
    assert 12 in counts["corruptions"]


def test_an_examination_of_another_rung_says_so(workdir, found, text):
    assert "not of the chosen" not in text
    data = dataclasses.replace(read(workdir), examination={**found, "rung": "lora"})
    for build in BUILDERS:
        if build not in OF_NO_RUNG:
            assert "Of lora" in build(data).introduction


def test_heat_map_has_every_condition_and_marks_those_that_degrade(found, text):
    body = section(text, "corruptions")
    cells = found["robustness"]["cells"]
    assert len(re.findall(r'class="(?:loss|gain)"', body)) == len(cells) == 70
    assert body.count(" degrades</span>") == sum(cell["degrades"] for cell in cells) > 0
    low, high = (
        f"{100 * end:.1f} %".replace("-", "−") for end in found["robustness"]["overall"]["ci"]
    )
    assert f"[{low}, {high}]" in words(text, "corruptions")
    assert "n=500" in words(text, "corruptions")
    # Kinds are in order of what they cost, the means of all before them.
    names = re.findall(r'<th scope="row">([a-z ]+)</th>', body)
    margins = found["robustness"]["by_kind"]
    assert names[0] == "all kinds"
    losses = [margins[name.replace(" ", "_")]["value"] for name in names[1:15]]
    assert losses == sorted(losses, reverse=True)


def test_undefined_numbers_are_said_with_their_reasons(workdir, found):
    changed = copy.deepcopy(found)
    for cell in changed["robustness"]["cells"]:
        cell["relative"] = {"value": None, "ci": None, "undefined": "the clean nll is 0"}
    changed["robustness"]["overall"] = {"value": None, "ci": None, "undefined": "nothing is known"}
    changed["robustness"]["clean"] = None
    ece = changed["recalibration"]["vector"]["after"]["ece"]
    ece.update(value=None, ci=None, undefined="no bin is full")
    page = rendered(workdir, changed)
    assert "undefined, the clean nll is 0" in words(page, "corruptions")
    assert "undefined: nothing is known" in words(page, "corruptions")
    assert "undefined: no bin is full" in words(page, "recalibration")
    assert "unknown: no process was started" in words(page, "serving")
    assert "n below 10" in words(page, "groups")
    assert "1 of 2 groups" in words(page, "groups")


def test_reliability_is_spoken_before_and_after(found, text):
    labels = [f["aria-label"] for f in Page(section(text, "recalibration")).named("svg")]
    titles = ("before", "after temperature scaling", "after vector", "after isotonic")
    for label, title, diagram in zip(labels, titles, found["reliability"].values(), strict=True):
        assert label.startswith(f"Reliability diagram, {title}")
        assert label.count("confidence") == sum(size > 0 for size in diagram["count"])
    change = found["recalibration"]["temperature"]["differences"]["nll"]
    assert f"{change['value']:+.3f}".replace("-", "−") in words(text, "recalibration")
    assert f"{found['brier']['resolution']:.3f}" in words(text, "recalibration")


def test_groups_stand_beside_what_equal_groups_give(found, text):
    said = words(text, "groups")
    for report in found["groups"].values():
        for worst in report["worst"]:
            if worst["value"] is not None:
                assert f"{worst['expected']:.3f}" in said
    (confirmed,) = [one for one in found["slices"]["slices"] if one["confirmed"]][:1]
    assert confirmed["description"] in said
    assert "1 confirmed" in said
    assert f"{found['slices']['n_confirm']} others" in said


def test_near_sets_come_before_far_ones_with_their_sizes(text):
    said = words(text, "outliers")
    near = said.index("tables, near (90 test examples, 60 outliers)")
    assert near < said.index("letters, far (90 test examples, 60 outliers)")


def test_flips_labels_and_leakage_name_their_examples(found, text):
    said = words(text, "flips")
    assert "McNemar" in said
    assert found["flips"]["flipped"][0]["id"] in said
    assert "only nearest_mean" in said
    said = words(text, "doubts")
    assert found["label_errors"]["candidates"][0]["id"] in said
    assert "train: train0" in said
    assert "test: test0" in said


def test_the_front_is_drawn_with_its_probabilities(found, text):
    label = Page(section(text, "cost")).named("svg")[0]["aria-label"]
    for one in found["pareto"]["candidates"]:
        place = "on the front" if one["on_front"] else "dominated"
        assert re.search(rf"{one['name']} [^;]*{place}, probability of being on it", label)
    assert "bitfit ·" in section(text, "cost")
    drawn = section(text, "cost").split("</svg>")[0]
    hollow = re.findall(r"<use [^>]*fill: var\(--surface\)", drawn)
    # The majority class lies off the scale and has no mark.
    candidates = [one for one in found["pareto"]["candidates"] if one["name"] != "majority_class"]
    assert len(hollow) == sum(not one["on_front"] for one in candidates) > 0
    assert len(hollow) < len(candidates) / 2
    assert "Taken as exact: trainable parameters" in words(text, "serving")


def test_confusions_have_intervals_of_examples_not_of_seeds(workdir, text):
    table = read(workdir).test_tables[0]
    first = confused(table, 1)[0]
    low, high = (f"{100 * end:.1f}" for end in first.ci)
    said = words(text, "errors")
    assert f"{first.label} taken for {first.predicted} {first.count} of {first.n}" in said
    assert f"[{low}, {high}]" in said


def test_confident_errors_and_doubted_labels_are_marked(workdir, found):
    data = read(workdir)
    name, label = next(iter(data.examples)), 0
    tables = []
    for table in data.predictions:
        row = table.ids.tolist().index(name)
        logits = table.logits.copy()
        label = int(table.labels[row])
        logits[row] = 20.0 * np.eye(5, dtype=np.float32)[(label + 1) % 5]
        tables.append(dataclasses.replace(table, logits=logits))
    doubt = {"id": name, "label": "x", "suggested": "weather", "self_confidence": 0.01}
    changed = {**found, "label_errors": {**found["label_errors"], "candidates": [doubt]}}
    page = render(dataclasses.replace(data, predictions=tables, examination=changed))
    first = section(page, "examples").split("</article>")[0]
    assert name in first
    assert "confidently wrong" in first
    assert "label doubted, weather?" in first


def _without(*place):
    def change(found):
        for key in place[:-1]:
            found = found[key]
        del found[place[-1]]

    return change


def _set(value, *place):
    def change(found):
        for key in place[:-1]:
            found = found[key]
        found[place[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(9, "schema"), "has schema 9, this version reads 1"),
        (_without("split"), "lacks the key 'split'"),
        (_set("nobody", "rung"), "is of a rung 'nobody' that the record lacks"),
        (_set(3, "robustness"), "'robustness' is no JSON object"),
        (_without("robustness", "cells", 4, "degrades"), r"'robustness\.cells\[4\]\.degrades'"),
        (_set([0.1], "robustness", "overall", "ci"), r"'robustness\.overall\.ci' is \[0\.1\]"),
        (_set({}, "outliers"), "'outliers' is no list"),
        (_set("0.9", "outliers", 0, "metrics", "auroc", "value"), r"auroc\.value' is '0\.9', not"),
        (_set(True, "flips", "only_a"), r"'flips\.only_a' is True, not of type int"),
        (_without("reliability", "before", "edges"), r"lacks the key 'reliability\.before\.edges'"),
        (_without("groups", "length", "worst"), r"lacks the key 'groups\.length\.worst'"),
        (_without("slices", "slices", 0, "inside"), r"'slices\.slices\[0\]\.inside'"),
        (_without("serving", "bitfit", "batches", 1, "latency", "seconds"), r"latency\.seconds'"),
        (_without("sample_efficiency", "curves", 0, "points"), r"curves\[0\]\.points'"),
        (_without("pareto", "candidates", 0, "probability"), r"candidates\[0\]\.probability'"),
        (_set(float("nan"), "brier", "brier"), "NaN, which is not JSON"),
    ],
)
def test_a_damaged_examination_is_refused_by_file_and_key(tmp_path, found, change, message):
    path = ladder_report.make_workdir(tmp_path / "run")
    damaged = copy.deepcopy(found)
    change(damaged)
    (path / "examination.json").write_text(json.dumps(damaged))
    with pytest.raises(WorkdirError, match=rf"examination\.json.*{message}"):
        write_report(path)
    assert not (path / "report.html").exists()


def test_hostile_names_stay_text(workdir, found):
    hostile = ladder_report.HOSTILE
    changed = json.loads(json.dumps(found).replace("source 3", json.dumps(hostile)[1:-1]))
    changed["summary"] = [hostile]
    changed["flips"]["of"] = changed["label_errors"]["candidates"][0]["id"] = hostile
    changed["outliers"][0]["detector"] = changed["leakage"]["pairs"][0]["id_a"] = hostile
    changed["robustness"]["cells"][0]["kind"] = hostile
    page = Page(rendered(workdir, changed))
    assert page.unbalanced == []
    assert len(page.named("script")) == 1
    assert page.named("img") == []
    assert page.words.count(hostile) > 5
