"""False alarms and delay of the drift monitor, by simulation; the reference is redrawn each time.

    python experiments/studies/drift_monitor.py [--workers 2]

writes `results/drift_monitor.json` and `.md` beside this file. A stream is a fresh reference of
2,000 labelled rows, then looks of 200 rows; 64 independent normal features, two classes of which
the second has a share of 10 % and is moved by 0.9 SD in 8 features, and the true log odds of that
model as logits, which it keeps when the data move.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from jaxtransfer.evaluation.drift import Batch, Effort, Settings, fit
from jaxtransfer.evaluation.drift.views import WEIGHTS

HERE = pathlib.Path(__file__).parent
WIDTH, INFORMATIVE, DISTANCE, SHARE = 64, 8, 0.9, 0.1
REFERENCE, ROWS, LOOKS, ALPHA = 2000, 200, 100, 0.05
QUIET, AFTER, SETTLE = 10, 20, 3
SMALL = Effort(
    permutations=199, kernel_permutations=99, label_permutations=1999, rows=400, kernel_rows=100
)


def draw(rng, rows, *, share=SHARE, shift=0.0, columns=WIDTH, temperature=1.0, common=0.0):
    """Rows of the model: class share, shift of the first columns, logit scale, common factor."""
    labels = (rng.random(rows) < share).astype(np.int64)
    features = np.sqrt(1 - common) * rng.normal(size=(rows, WIDTH))
    features += np.sqrt(common) * rng.normal(size=(rows, 1))
    features[:, :INFORMATIVE] += DISTANCE * labels[:, None]
    features[:, :columns] += shift
    log_odds = DISTANCE * (features[:, :INFORMATIVE] - DISTANCE / 2).sum(axis=1)
    log_odds = temperature * (log_odds + np.log(SHARE / (1 - SHARE)))
    return Batch(
        ids=np.arange(rows),
        features=features,
        logits=np.stack([np.zeros(rows), log_odds], axis=1),
        labels=labels,
        inputs={"length": rng.normal(size=rows)},
    )


SCENARIOS = {
    "0.15 SD in all 64 features": {"after": {"shift": 0.15}},
    "label share 10 % to 20 %": {"after": {"share": 0.2}},
    "confidence: logits x 0.6": {"after": {"temperature": 0.6}},
    "0.5 SD in one feature": {"after": {"shift": 0.5, "columns": 1}},
    "1 SD in all 64 features": {"after": {"shift": 1.0}},
    "0.15 SD in all, correlated 0.5": {
        "always": {"common": 0.5},
        "after": {"shift": 0.15},
    },
    "0.15 SD in all, grown over 20 looks": {"after": {"shift": 0.15}, "grows": True},
    "0.15 SD in all, from look 61": {"after": {"shift": 0.15}, "quiet": 60},
    "label share 10 % to 20 %, from look 61": {"after": {"share": 0.2}, "quiet": 60},
}


def quiet_stream(seed):
    """One stream without drift: kinds that alarmed, and whether uncontrolled looks would have."""
    rng = np.random.default_rng([1, seed])
    monitor = fit(draw(rng, REFERENCE), Settings(false_alarms=ALPHA, effort=SMALL, seed=seed))
    naive, features = False, False
    for _ in range(LOOKS):
        monitor, finding = monitor.check(draw(rng, ROWS))
        p = min(
            test.p / WEIGHTS[kind][test.name]
            for kind, tests in finding.look.tests.items()
            for test in tests
        )
        naive |= p * len(monitor.kinds) <= ALPHA
        features |= finding.look.tests["features"][0].p <= ALPHA
    return {"alarms": monitor.alarms, "each look": bool(naive), "one test": bool(features)}


def drifting_stream(name, seed):
    """One stream that drifts: delay in looks, kinds at the alarm, advice then and a little later."""
    scenario = SCENARIOS[name]
    rng = np.random.default_rng([2, seed])
    always, after = scenario.get("always", {}), scenario["after"]
    quiet = scenario.get("quiet", QUIET)
    effort = SMALL if quiet > QUIET else Effort()
    monitor = fit(
        draw(rng, REFERENCE, **always), Settings(false_alarms=ALPHA, effort=effort, seed=seed)
    )
    for _ in range(quiet):
        monitor, finding = monitor.check(draw(rng, ROWS, **always))
    if finding.alarmed:
        return {"early": True}
    first = None
    for look in range(1, AFTER + 1):
        now = dict(after)
        if scenario.get("grows"):
            now["shift"] = after["shift"] * look / AFTER
        monitor, finding = monitor.check(draw(rng, ROWS, **{**always, **now}))
        if finding.alarmed and first is None:
            first = {"delay": look, "advice": finding.advice, "start": finding.diagnosis.start}
        if first is not None and look >= first["delay"] + SETTLE:
            break
    if first is None:
        return {"early": False, "delay": None}
    return {
        "early": False,
        **first,
        "alarms": sorted(monitor.alarms),
        "moved": list(finding.diagnosis.moved),
        "later": finding.advice,
    }


def summary(name, streams, quiet):
    kept = [s for s in streams if not s["early"]]
    found = [s for s in kept if s["delay"] is not None]
    delays = [s["delay"] for s in found]
    advice = collections.Counter(s["later"] for s in found)
    kinds = collections.Counter(kind for s in found for kind in s["alarms"])
    return {
        "scenario": name,
        "effort": "small" if quiet > QUIET else "default",
        "streams": len(kept),
        "alarmed before the drift": len(streams) - len(kept),
        "detected": len(found) / len(kept),
        "delay": {q: float(np.quantile(delays, v)) for q, v in (("median", 0.5), ("p90", 0.9))}
        if delays
        else None,
        "kinds": {kind: count / len(found) for kind, count in sorted(kinds.items())},
        "advice": {word: count / len(found) for word, count in advice.most_common()},
    }


def markdown(result):
    null = result["no drift"]
    lines = [
        "# Drift monitor: false alarms and delay",
        "",
        f"`{result['command']}`; {result['seconds']:.0f} processor seconds. Reference of"
        f" {REFERENCE:,} rows, redrawn for every stream; looks of {ROWS} rows; {WIDTH} features,"
        " two classes, one input; declared rate"
        f" {ALPHA:g} over any number of looks, split equally over four kinds.",
        "",
        f"## No drift, {LOOKS} looks, {null['streams']} streams",
        "",
        "| Rule | Streams that alarm | 95 % interval |",
        "|---|---|---|",
    ]
    for rule, key in (
        ("the monitor, any kind", "any"),
        *((f"the monitor, {kind}", kind) for kind in WEIGHTS),
        ("p <= 0.05 at any look, Bonferroni over all tests of the look", "each look"),
        ("p <= 0.05 at any look, one test (mean shift)", "one test"),
    ):
        row = null[key]
        low, high = row["ci"]
        lines.append(f"| {rule} | {row['rate']:.3f} | {low:.3f} to {high:.3f} |")
    lines += [
        "",
        f"## Drift after {QUIET} quiet looks, up to {AFTER} looks",
        "",
        f"Delay counts looks, the first drifted one being 1. Kinds and advice are those {SETTLE}"
        " looks after the first alarm.",
        "",
        "| Drift | Streams | Detected | Delay, median (90 %) | Kinds that alarmed | Advice |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["drift"]:
        delay = row["delay"]
        cells = [
            row["scenario"],
            str(row["streams"]),
            f"{row['detected']:.0%}",
            f"{delay['median']:g} ({delay['p90']:g})" if delay else "",
            ", ".join(f"{kind} {share:.0%}" for kind, share in row["kinds"].items()),
            ", ".join(f"{word} {share:.0%}" for word, share in row["advice"].items()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--null-streams", type=int, default=200)
    parser.add_argument("--streams", type=int, default=20)
    arguments = parser.parse_args()
    from jaxtransfer.evaluation.intervals import wilson

    result = {
        "command": "python experiments/studies/drift_monitor.py",
        "settings": {
            "reference": REFERENCE,
            "rows": ROWS,
            "looks": LOOKS,
            "false_alarms": ALPHA,
            "small_effort": vars(SMALL),
            "default_effort": vars(Effort()),
        },
    }
    with concurrent.futures.ProcessPoolExecutor(arguments.workers) as pool:
        streams = list(pool.map(quiet_stream, range(arguments.null_streams), chunksize=5))
        n = len(streams)
        counts = {
            "any": sum(bool(s["alarms"]) for s in streams),
            **{kind: sum(kind in s["alarms"] for s in streams) for kind in WEIGHTS},
            **{rule: sum(s[rule] for s in streams) for rule in ("each look", "one test")},
        }
        result["no drift"] = {
            "streams": n,
            **{
                key: {"count": count, "rate": count / n, "ci": list(wilson(count, n))}
                for key, count in counts.items()
            },
        }
        print(json.dumps(result["no drift"]), flush=True)
        result["drift"] = []
        for name, scenario in SCENARIOS.items():
            found = pool.map(drifting_stream, [name] * arguments.streams, range(arguments.streams))
            row = summary(name, list(found), scenario.get("quiet", QUIET))
            print(json.dumps(row), flush=True)
            result["drift"].append(row)
    ended = os.times()
    result["seconds"] = ended.children_user + ended.children_system + time.process_time()
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / "drift_monitor.json").write_text(json.dumps(result, indent=2) + "\n")
    (folder / "drift_monitor.md").write_text(markdown(result))


if __name__ == "__main__":
    main()
