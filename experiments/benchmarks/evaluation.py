"""Times all classification metrics with bootstrap intervals against the obvious loop over scikit-learn's.

    python experiments/benchmarks/evaluation.py                  # writes results/evaluation.{json,md}
    python experiments/benchmarks/evaluation.py --part memory    # keeps what they say of speed

The loop draws examples with replacement and calls scikit-learn's functions on each replicate; its time is
extrapolated from a few of its replicates, run between parts of ours. The memory of a large table is the
peak resident size, by the kernel's own count, of a process that does nothing else.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import numpy as np
import worker

from jaxtransfer.evaluation.metrics import measure
from jaxtransfer.evaluation.table import Predictions

RESULTS = pathlib.Path(__file__).parent / "results"
PARTS = ("speed", "memory")
LIMIT_MIB = 4096
LARGE_REPLICATES = 20
"""Of a million rows four are held at a time, so more of them take longer but no more memory."""


def draw(rows: int, classes: int, dtype: str = "float32", seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    logits = rng.standard_normal((rows, classes), dtype=np.dtype(dtype).type)
    logits[np.arange(rows), labels] += 2
    return Predictions(
        ids=np.arange(rows),
        labels=labels,
        logits=logits,
        classes=tuple(f"class {c}" for c in range(classes)),
    )


def loop_replicate(labels: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> dict:
    """One bootstrap replicate by scikit-learn's functions, as one would write it."""
    from sklearn import metrics as sk

    rows = rng.integers(0, len(labels), len(labels))
    y, q = labels[rows], p[rows]
    predicted = q.argmax(axis=1)
    classes = np.arange(q.shape[1])
    one_hot = y[:, None] == classes
    confidence, right = q.max(axis=1), predicted == y
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    gaps = np.bincount(bins, weights=right - confidence, minlength=15)
    return {
        "accuracy": sk.accuracy_score(y, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(y, predicted),
        "macro_f1": sk.f1_score(y, predicted, average="macro"),
        "weighted_f1": sk.f1_score(y, predicted, average="weighted"),
        "mcc": sk.matthews_corrcoef(y, predicted),
        "cohen_kappa": sk.cohen_kappa_score(y, predicted),
        "auroc_ovr_macro": sk.roc_auc_score(y, q, multi_class="ovr"),
        "average_precision_macro": sk.average_precision_score(one_hot, q),
        "nll": sk.log_loss(y, q, labels=classes),
        "brier": ((q - one_hot) ** 2).sum(axis=1).mean(),
        "ece": np.abs(gaps).sum() / len(y),
        "top_5_accuracy": sk.top_k_accuracy_score(y, q, k=5, labels=classes),
    }


def compare(rows: int, classes: int, replicates: int, loops: int) -> dict:
    """Times our whole measurement between replicates of the loop, half before and half after."""
    table = draw(rows, classes)
    shifted = np.exp(table.logits - table.logits.max(axis=1, keepdims=True).astype(np.float64))
    p = shifted / shifted.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    seconds = []

    def loop(count: int) -> None:
        for _ in range(count):
            begin = time.perf_counter()
            loop_replicate(table.labels, p, rng)
            seconds.append(time.perf_counter() - begin)

    loop(loops - loops // 2)
    begin = time.perf_counter()
    measured = measure(table, replicates=replicates)
    ours = time.perf_counter() - begin
    loop(loops // 2)
    theirs = float(np.mean(seconds)) * replicates
    return {
        "rows": rows,
        "classes": classes,
        "replicates": replicates,
        "metrics": list(measured),
        "ours_seconds": ours,
        "loop_seconds_a_replicate": seconds,
        "loop_seconds_extrapolated": theirs,
        "ratio": ours / theirs,
    }


def memory(rows: int, classes: int, dtype: str, replicates: int) -> dict:
    """Peak resident size of a process that draws a table and measures it."""
    task = {"rows": rows, "classes": classes, "dtype": dtype, "replicates": replicates}
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**task, **json.loads(done.stdout)}


def child(rows: int, classes: int, dtype: str, replicates: int) -> None:
    table = draw(rows, classes, dtype)
    before = worker.peak_resident_mib()
    # Others may use the machine for the minutes that this takes, so time is the process's own.
    begin = time.process_time()
    measured = measure(table, replicates=replicates)
    found = {
        "metrics": len(measured),
        "cpu_seconds": time.process_time() - begin,
        "peak_mib": worker.peak_resident_mib(),
        "peak_mib_before": before,
    }
    print(json.dumps(found))


def processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def machine() -> dict:
    """When and on what a part was measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count(),
    }


def as_text(found: dict) -> str:
    speed, memory = found["speed"], found["memory"]
    when = {part: "{date}, {processor}, {cores} cores".format(**found[part]) for part in PARTS}
    lines = [
        "# Metrics with bootstrap intervals, against a loop over scikit-learn",
        "",
        f"`python experiments/benchmarks/evaluation.py`, {when['speed']}.",
        "",
        f"{len(speed['metrics'])} metrics of {speed['rows']:,} examples and {speed['classes']} classes"
        f" with {speed['replicates']:,} replicates: ours {speed['ours_seconds']:.1f} s; the loop"
        f" {speed['loop_seconds_extrapolated']:.0f} s (extrapolated from"
        f" {len(speed['loop_seconds_a_replicate'])} replicates of 12 metrics, mean"
        f" {np.mean(speed['loop_seconds_a_replicate']):.2f} s); **ratio {speed['ratio']:.3f}**,"
        " asked for at most 0.2.",
        "",
        "## Memory",
        "",
        f"`python experiments/benchmarks/evaluation.py --part memory`, {when['memory']}. The peak is of the"
        f" whole process, table and all; asked for at most {LIMIT_MIB:,} MiB.",
        "",
        "| rows | classes | logits | replicates | metrics | CPU seconds | peak MiB | before measuring, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in memory["tables"]:
        lines.append(
            f"| {row['rows']:,} | {row['classes']} | {row['dtype']} | {row['replicates']:,} |"
            f" {row['metrics']} | {row['cpu_seconds']:.0f} | {row['peak_mib']:,.0f} |"
            f" {row['peak_mib_before']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--loops", type=int, default=5, help="replicates of the loop that are run")
    parser.add_argument("--million", type=int, default=1_000_000, help="rows of the large table")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    parser.add_argument(
        "--part",
        choices=PARTS,
        help="measured anew, the other as it stands in --out; both if left out",
    )
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(**arguments.child)
        return
    results = arguments.out / "evaluation.json"
    found = json.loads(results.read_text()) if arguments.part else {}
    if arguments.part != "memory":
        speed = compare(arguments.rows, arguments.classes, arguments.replicates, arguments.loops)
        found["speed"] = {**machine(), **speed}
    if arguments.part != "speed":
        tables = [
            memory(arguments.million, classes, dtype, LARGE_REPLICATES)
            for classes, dtype in (
                (10, "float32"),
                (arguments.classes, "float32"),
                (arguments.classes, "float64"),
            )
        ]
        found["memory"] = {**machine(), "tables": tables}
    arguments.out.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps({part: found[part] for part in PARTS}, indent=2) + "\n")
    text = as_text(found)
    (arguments.out / "evaluation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
