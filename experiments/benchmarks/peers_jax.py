"""Our side: the package's own model, method, step and loop, in float32 and at their defaults."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import worker

from jaxtransfer import trees
from jaxtransfer.adapt.adapted import Adapted, adapt
from jaxtransfer.adapt.freezing import Full, LinearProbe
from jaxtransfer.adapt.lora import LoRA
from jaxtransfer.data.examples import ArrayExamples
from jaxtransfer.host_memory import keep_freed_memory
from jaxtransfer.models import zoo
from jaxtransfer.models.model import Model, with_head
from jaxtransfer.objectives.supervised import cross_entropy
from jaxtransfer.objectives.terms import Objective
from jaxtransfer.partition import DELTA, is_trainable
from jaxtransfer.train.cache import ActivationCache
from jaxtransfer.train.compiled import CompiledSteps
from jaxtransfer.train.loop import train
from jaxtransfer.train.recipe import Recipe
from jaxtransfer.train.state import init_state
from jaxtransfer.train.step import make_train_step


def load(task: dict[str, Any], arrays: Any) -> Model:
    """The classifier of a task: encoder as given, head from the task's arrays."""
    encoder = zoo.load(task["weights"], max_length=task["length"])
    kernel, bias = jnp.asarray(arrays["head_kernel"]), jnp.asarray(arrays["head_bias"])
    model = with_head(encoder, len(bias), rng=jax.random.key(0))
    params = {**model.variables["params"], "head": {"kernel": kernel, "bias": bias}}
    return dataclasses.replace(model, variables={**model.variables, "params": params})


def start_lora(adapted: Adapted, arrays: Any) -> Adapted:
    """The adapted model, starting from the task's own A."""
    flat = trees.flatten(adapted.variables[DELTA])
    for path in flat:
        if not path.endswith("/lora_a"):
            continue
        layer, site = path.removeprefix("encoder/layer_").removesuffix("/lora_a").split("/", 1)
        ours = arrays[f"lora_a/{layer}/{site}"]
        flat[path] = jnp.asarray(ours if ours.shape == flat[path].shape else ours.T)
    variables = {**adapted.variables, DELTA: trees.unflatten(flat)}
    return dataclasses.replace(adapted, variables=variables)


def objective() -> Objective:
    """Mean cross-entropy."""
    return Objective((cross_entropy(),))


def recipe(task: dict[str, Any], **changes: Any) -> Recipe:
    """Constant rate, as the peer's."""
    return Recipe(
        batch_size=task["batch"],
        learning_rate=task["learning_rate"],
        schedule="constant",
        warmup=0.0,
        precision="float32",
        **changes,
    )


def steps(task: dict[str, Any], arrays: Any) -> dict[str, worker.Command]:
    """Commands of a step benchmark."""
    model = load(task, arrays)
    method = (
        LoRA(rank=task["rank"], alpha=2.0 * task["rank"]) if task["method"] == "lora" else Full()
    )
    adapted = adapt(model, method, rng=jax.random.key(0))
    if task["method"] == "lora":
        adapted = start_lora(adapted, arrays)
    optimizer = recipe(task, steps=10**6).optimizer(adapted)
    state, frozen = init_state(adapted.variables, adapted.labels, optimizer, 0)
    compiled = jax.jit(
        make_train_step(adapted, objective(), optimizer, precision="float32"), donate_argnums=0
    )
    flat = trees.flatten_variables(adapted.variables)
    trainable = sum(
        flat[path].size for path, label in adapted.labels.items() if is_trainable(label)
    )
    del adapted, model, flat
    rate, decay = jnp.float32(task["learning_rate"]), jnp.float32(0.0)
    batches = [
        {
            "labeled": {
                "inputs": {
                    "input_ids": arrays["ids"][rows].astype(np.int32),
                    "attention_mask": arrays["mask"][rows].astype(np.int32),
                },
                "label": arrays["labels"][rows].astype(np.int32),
                "mask": np.ones(len(rows), bool),
                "id": rows.astype(np.int32),
            }
        }
        for rows in np.split(np.arange(len(arrays["ids"])), len(arrays["ids"]) // task["batch"])
    ]
    count = 0

    def step() -> float:
        nonlocal state, count
        state, metrics = compiled(state, frozen, batches[count % len(batches)], rate, decay)
        count += 1
        return float(jax.block_until_ready((state, metrics))[1]["loss"])

    return commands(step, trainable=trainable)


def commands(step: Callable[[], float], *, trainable: int) -> dict[str, worker.Command]:
    """Commands that call a step, which gives its loss."""

    def run(count: int) -> dict[str, Any]:
        pairs = [worker.timed(step) for _ in range(count)]
        return {"losses": [loss for loss, _ in pairs], "seconds": [seconds for _, seconds in pairs]}

    def first() -> dict[str, Any]:
        return {**run(1), "trainable": trainable}

    def forget() -> dict[str, Any]:
        worker.forget_peak()
        return {}

    return {"first": first, "run": run, "forget": forget}


def bare(task: dict[str, Any], arrays: Any) -> dict[str, worker.Command]:
    """What no method on all layers can do without: forward, and the gradient back to the first block's input."""
    model = load(task, arrays)
    rows = np.arange(task["batch"])
    inputs = {
        "input_ids": arrays["ids"][rows].astype(np.int32),
        "attention_mask": arrays["mask"][rows].astype(np.int32),
    }
    first_input = model.apply(model.variables, inputs, stop=1)
    labels = arrays["labels"][rows].astype(np.int32)

    def loss(hidden: Any, variables: Any) -> Any:
        logits = model.apply(variables, {**first_input, "hidden": hidden}, start=1)["logits"]
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels])

    compiled = jax.jit(jax.value_and_grad(loss))

    def step() -> float:
        return float(jax.block_until_ready(compiled(first_input["hidden"], model.variables))[0])

    return commands(step, trainable=0)


def probe(task: dict[str, Any], arrays: Any) -> dict[str, worker.Command]:
    """One command: a whole probe, from tokens to a trained head, compilation included."""
    adapted = adapt(load(task, arrays), LinearProbe(), rng=jax.random.key(0))
    examples = ArrayExamples(
        np.arange(len(arrays["ids"])).astype(str),
        arrays["labels"],
        {
            "input_ids": arrays["ids"].astype(np.int32),
            "attention_mask": arrays["mask"].astype(np.int32),
        },
    )

    def whole(epochs: int) -> dict[str, Any]:
        jax.clear_caches()
        cache = ActivationCache()
        each = -(-len(examples) // task["batch"])
        trained, seconds = worker.timed(
            lambda: train(
                adapted,
                {"labeled": examples},
                objective(),
                recipe(
                    task,
                    steps=epochs * each,
                    clip_norm=None,
                    evaluation_batch_size=task["batch"],
                ),
                seed=0,
                cache=cache,
                compiled=CompiledSteps(),
            )
        )
        losses = [row["loss"] for row in trained.history if "loss" in row][-each:]
        return {
            "loss": float(np.mean(losses)),
            "seconds": seconds,
            "cache_seconds": trained.cost.cache_seconds,
            "compile_seconds": trained.cost.compile_seconds,
            "epoch_seconds": trained.cost.seconds / epochs,
        }

    return {"whole": whole}


def setup(task: dict[str, Any]) -> dict[str, worker.Command]:
    """Commands of a task; memory is kept as the command line keeps it."""
    keep_freed_memory()
    arrays = np.load(task["arrays"])
    return {"probe": probe, "bare": bare}.get(task["method"], steps)(task, arrays)


if __name__ == "__main__":
    worker.serve(setup)
