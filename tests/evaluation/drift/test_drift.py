"""The drift monitor: tests agree with SciPy and direct formulas, evidence is a martingale, kinds are told apart."""

import json

import numpy as np
import pytest
from scipy import stats

from jaxtransfer.cli import main
from jaxtransfer.errors import EvaluationError, WorkdirError
from jaxtransfer.evaluation.drift import Batch, Effort, Settings, estimate_shares, fit, load, save
from jaxtransfer.evaluation.drift.permutation import subsets
from jaxtransfer.evaluation.drift.sequential import Evidence, e_value
from jaxtransfer.evaluation.drift.two_sample import (
    classifier,
    energy_distance,
    ks_distances,
    ks_p_values,
    mean_shift,
    median_bandwidth,
    mmd,
)

QUICK = Effort(
    permutations=199, kernel_permutations=49, label_permutations=999, rows=400, kernel_rows=80
)


def batch(n, seed, *, shares=(0.5, 0.5), shift=0.0, sharpness=1.0, width=8, name="batch"):
    """Two classes along the first feature; logits are a fixed function of the features."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(2, n, p=shares)
    features = rng.normal(size=(n, width)) + shift
    features[:, 0] += 3 * labels
    score = 2 * (features[:, 0] - 1.5) * sharpness
    return Batch(
        ids=np.array([f"{name}-{seed}-{i}" for i in range(n)]),
        features=features,
        logits=np.stack([np.zeros(n), score], axis=1),
        inputs={"length": rng.gamma(3, size=n)},
        labels=labels,
        classes=("no", "yes"),
        source=name,
    )


def watch(monitor, batches):
    finding = None
    for one in batches:
        monitor, finding = monitor.check(one)
    return monitor, finding


def test_each_columns_distance_and_p_value_are_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 3)), rng.normal(0.4, 1, size=(60, 3))
    found = ks_distances(a, b)
    for column in range(3):
        expected = stats.ks_2samp(a[:, column], b[:, column], method="asymp")
        assert found[column] == pytest.approx(expected.statistic, abs=1e-12)
    exact = [stats.ks_2samp(a[:, c], b[:, c], method="exact").pvalue for c in range(3)]
    assert ks_p_values(found, 40, 60) == pytest.approx(exact, rel=0.25)


def test_mmd_is_the_unbiased_estimate_by_its_definition():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(12, 3)), rng.normal(0.5, 1, size=(15, 3))
    width = median_bandwidth(np.concatenate([x, y]))
    found = mmd(x, y, subsets(27, 12, 9, np.random.default_rng(0)), bandwidth=width)

    def kernel(a, b):
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * width**2))

    kx, ky = kernel(x, x), kernel(y, y)
    expected = (kx.sum() - 12) / (12 * 11) + (ky.sum() - 15) / (15 * 14) - 2 * kernel(x, y).mean()
    assert found.statistic == pytest.approx(expected, abs=1e-10)


def test_energy_distance_in_one_dimension_is_scipys():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 1)), rng.normal(0.5, 1, size=(40, 1))
    found = energy_distance(x, y, subsets(70, 30, 9, np.random.default_rng(0)))
    expected = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert found.statistic == pytest.approx(expected, abs=1e-10)


def test_permutation_p_values_are_uniform_without_drift():
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
        p.append(mean_shift(x, y, subsets(80, 30, 99, rng)).p)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_classifier_tells_what_differs_and_not_what_does_not():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(150, 5))
    assert classifier(x + 1, rng.normal(size=(150, 5)), rng).p < 1e-6
    null = [
        classifier(rng.normal(size=(40, 3)), rng.normal(size=(60, 3)), rng).p for _ in range(100)
    ]
    assert np.mean(np.array(null) <= 0.1) < 0.2


def test_e_values_have_mean_one_and_evidence_is_a_martingale():
    cells = np.arange(1, 201) / 200
    assert np.mean([e_value(p, 199) for p in cells]) == pytest.approx(1, abs=1e-10)
    rng = np.random.default_rng(0)
    ever = 0
    for _ in range(400):
        evidence = Evidence()
        for p in rng.integers(1, 201, 50) / 200:
            evidence = evidence.after(e_value(p, 199))
        ever += evidence.alarm(0.05) is not None
    assert ever / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_class_shares_are_recovered_by_the_inverse_of_the_confusion():
    labels = np.repeat([0, 1], [500, 500])
    predicted = np.concatenate([np.repeat([0, 1], [450, 50]), np.repeat([0, 1], [100, 400])])
    new = np.repeat([0, 1], [620, 380])  # .9 q + .2 (1 - q) = .62 gives q = .6
    found = estimate_shares(labels, predicted, new, 2, seed=0)
    assert found.estimate == pytest.approx([0.6, 0.4], abs=1e-9)
    assert found.low[0] < 0.6 < found.high[0]


@pytest.fixture(scope="module")
def monitor():
    return fit(batch(1000, 0, name="reference"), Settings(effort=QUICK))


def test_quiet_looks_raise_no_alarm(monitor):
    after, finding = watch(monitor, [batch(150, seed) for seed in range(1, 11)])
    assert not finding.alarmed
    assert finding.advice == "nothing"
    assert len(after.looks) == 10


@pytest.mark.parametrize(
    ("change", "kind", "advice"),
    [
        ({"shift": 0.5}, "features", ("refit the probe", "re-adapt")),
        ({"shift": 3.0}, "features", ("re-adapt",)),
        ({"shares": (0.85, 0.15)}, "labels", ("recalibrate",)),
        ({"sharpness": 3.0}, "confidence", ("recalibrate",)),
    ],
)
def test_kinds_of_drift_are_told_apart(monitor, change, kind, advice):
    _, finding = watch(monitor, [batch(200, 20 + seed, **change) for seed in range(8)])
    assert kind in finding.alarms
    assert finding.advice in advice, str(finding)
    assert json.dumps(finding.to_json())


def test_the_same_batch_is_not_counted_twice(monitor):
    one = batch(100, 5)
    after, _ = monitor.check(one)
    again, finding = after.check(one)
    assert finding.repeated
    assert len(again.looks) == 1


def test_a_monitor_goes_on_from_its_file_to_the_bit(monitor, tmp_path):
    save(monitor, tmp_path / "m.npz")
    loaded = load(tmp_path / "m.npz")
    for one, other in ((monitor, loaded), (monitor.check(batch(90, 1))[0],) * 2):
        assert one.looks == other.looks
    a, b = (m.check(batch(120, 9))[1] for m in (monitor, loaded))
    assert a.to_json() == b.to_json()


def test_an_interrupted_write_keeps_the_old_monitor(monitor, tmp_path, monkeypatch):
    path = save(monitor, tmp_path / "m.npz")
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises((WorkdirError, EvaluationError), match="No space left"):
        save(monitor, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.npz"]


def write(one, path):
    np.savez(
        path,
        id=one.ids,
        features=one.features,
        logits=one.logits,
        label=one.labels,
        classes=np.array(one.classes),
        input_length=one.inputs["length"],
    )
    return str(path)


def test_the_command_line_fits_and_checks_with_its_exit_status(tmp_path, capsys):
    reference = write(batch(600, 0), tmp_path / "reference.npz")
    quiet = write(batch(150, 1), tmp_path / "quiet.npz")
    moved = write(batch(150, 2, shift=2.0), tmp_path / "moved.npz")
    out = str(tmp_path / "monitor.npz")
    assert main(["monitor", "fit", reference, "--out", out]) == 0
    assert "false alarms at most 0.05" in capsys.readouterr().out
    assert main(["monitor", "check", out, quiet]) == 0
    assert main(["monitor", "check", out, moved, "--dry-run"]) == 1
    assert main(["monitor", "check", out, quiet]) == 0
    assert "not counted again" in capsys.readouterr().out
    assert main(["monitor", "check", out, moved, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["advice"] == "re-adapt"
    assert main(["monitor", "fit", reference, "--out", out]) == 2
    assert "--replace" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.ones((20, 3))}, "'features' has 3 columns, the reference's 8 columns"),
        ({"logits": np.ones((20, 3)), "classes": ("a", "b", "c")}, "has the classes"),
        ({"inputs": {}}, "column 'input_length' is missing"),
        ({"inputs": {"length": np.ones(20), "width": np.ones(20)}}, "is not in the reference"),
    ],
)
def test_a_batch_of_other_columns_is_refused(monitor, change, message):
    one = batch(20, 1)
    columns = {
        name: getattr(one, name)
        for name in ("ids", "features", "logits", "inputs", "labels", "classes")
    }
    with pytest.raises(EvaluationError, match=message):
        monitor.check(Batch(**{**columns, **change}))


def test_what_is_not_finite_or_too_little_is_named(monitor, tmp_path):
    features = np.ones((30, 8))
    features[4, 2] = np.nan
    np.savez(tmp_path / "b.npz", id=np.arange(30), features=features)
    with pytest.raises(EvaluationError, match=r"b\.npz: column 'features', row 4"):
        Batch.load(tmp_path / "b.npz")
    with pytest.raises(EvaluationError, match="5 rows are too few for a look"):
        monitor.check(batch(5, 1))
    with pytest.raises(EvaluationError, match="too few for a reference"):
        fit(batch(30, 1))
    (tmp_path / "m.npz").write_bytes(b"PK broken")
    with pytest.raises(EvaluationError, match=r"m\.npz"):
        load(tmp_path / "m.npz")
