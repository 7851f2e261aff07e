"""Does the drift monitor keep its promises? False alarms over 100 looks, and how soon it sees a shift.

    python experiments/studies/drift_monitor.py        # writes results/drift_monitor.{json,md}

Every stream has a reference of its own, drawn anew. 64 features are independent standard normals; the logits of two
classes are a fixed linear function of the first features, which hold the class.
"""

import argparse
import json
import math
import pathlib
import time

import numpy as np

from jaxtransfer.evaluation.drift import Batch, Effort, Settings, fit

RESULTS = pathlib.Path(__file__).parent / "results"
FEATURES, REFERENCE, ROWS = 64, 1000, 200
EFFORT = Effort(
    permutations=199, kernel_permutations=49, label_permutations=499, rows=400, kernel_rows=60
)
RATE = 0.05
SCENARIOS = {
    "0.15 SD in all of 64 features": {"shift": 0.15},
    "label shift from 10 to 20 %": {"share": 0.2},
    "confidence: logits twice as large": {"sharpness": 2.0},
}


def draw(rng, rows, name, *, share=0.1, shift=0.0, sharpness=1.0):
    labels = (rng.random(rows) < share).astype(np.int64)
    features = rng.normal(size=(rows, FEATURES)) + shift
    features[:, :4] += 1.5 * labels[:, None]
    score = sharpness * (1.5 * features[:, :4].sum(axis=1) - 7)
    return Batch(
        ids=np.array([f"{name}-{i}" for i in range(rows)]),
        features=features,
        logits=np.stack([np.zeros(rows), score], axis=1),
        labels=labels,
        classes=("common", "rare"),
        source=name,
    )


def stream(seed, looks, change, stop):
    """Kinds that alarmed and the look of the first, in one stream; `change` from the first look on."""
    rng = np.random.default_rng([seed, 7])
    monitor = fit(
        draw(rng, REFERENCE, "reference"), Settings(false_alarms=RATE, effort=EFFORT, seed=seed)
    )
    finding = None
    for look in range(1, looks + 1):
        monitor, finding = monitor.check(draw(rng, ROWS, f"look {look}", **change))
        if stop and finding.alarmed:
            break
    return dict(finding.alarms), finding.advice


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100, help="without drift")
    parser.add_argument("--shifted", type=int, default=40, help="of each shift")
    parser.add_argument("--looks", type=int, default=100)
    arguments = parser.parse_args()
    began = time.perf_counter()
    quiet = [stream(s, arguments.looks, {}, True)[0] for s in range(arguments.streams)]
    false = sum(bool(alarms) for alarms in quiet) / len(quiet)
    error = math.sqrt(RATE * (1 - RATE) / len(quiet))
    rows = []
    for name, change in SCENARIOS.items():
        found = [stream(1000 + s, 30, change, True) for s in range(arguments.shifted)]
        first = [min(alarms.values()) for alarms, _ in found if alarms]
        kinds = [min(alarms, key=alarms.get) for alarms, _ in found if alarms]
        rows.append(
            {
                "shift": name,
                "streams": len(found),
                "detected": len(first) / len(found),
                "median_look": float(np.median(first)) if first else None,
                "latest_look": max(first, default=None),
                "first_kind": {k: kinds.count(k) for k in sorted(set(kinds))},
                "advice": {
                    a: [x for _, x in found].count(a) for a in sorted({x for _, x in found})
                },
            }
        )
    results = {
        "looks": arguments.looks,
        "rows_a_look": ROWS,
        "reference": REFERENCE,
        "declared": RATE,
        "streams": len(quiet),
        "false_alarms": false,
        "allowed": RATE + 1.96 * error,
        "shifts": rows,
        "seconds": time.perf_counter() - began,
    }
    lines = [
        "# The drift monitor's false alarms and detections",
        "",
        f"`python experiments/studies/drift_monitor.py --streams {arguments.streams} --shifted"
        f" {arguments.shifted} --looks {arguments.looks}`, {results['seconds']:.0f} s. A reference of"
        f" {REFERENCE} rows, drawn anew for each stream; {ROWS} rows a look; 64 features.",
        "",
        f"Without drift, {false:.3f} of {len(quiet)} streams ever alarmed in {arguments.looks} looks;"
        f" declared {RATE}, allowed with Monte-Carlo error {results['allowed']:.3f}.",
        "",
        "| shift from the first look on | streams | detected in 30 looks | median look | latest | first kind | advice then |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['shift']} | {row['streams']} | {row['detected']:.0%} | {row['median_look']} |"
            f" {row['latest_look']} | {row['first_kind']} | {row['advice']} |"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "drift_monitor.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "drift_monitor.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
