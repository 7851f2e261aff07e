"""The peer: transformers and peft in float32, eager or through `torch.compile`, at the settings that were fastest.

Every thread, fused AdamW, scaled-dot-product attention, no gradient kept for what is frozen, no dropout (as on our side).
"""

import copy
import os
import warnings
from typing import Any

import numpy as np
import torch
import transformers
import worker
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import BertModel

LINEAR = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
SITES = {
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/output": "attention.output.dense",
    "mlp/up": "intermediate.dense",
    "mlp/down": "output.dense",
}
"""Names of a layer's linear maps, ours to theirs."""


class Classifier(torch.nn.Module):
    """An encoder, the mean of its hidden states over the mask, and a linear head."""

    def __init__(self, encoder: torch.nn.Module, head: tuple[np.ndarray, np.ndarray]):
        super().__init__()
        self.encoder = encoder
        kernel, bias = head
        self.head = torch.nn.Linear(*kernel.shape)
        self.head.weight.data.copy_(torch.from_numpy(kernel.T.copy()))
        self.head.bias.data.copy_(torch.from_numpy(bias))

    def features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`(B, D)` mean-pooled features."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.to(hidden.dtype)
        weights = weights / weights.sum(1, keepdim=True)
        return torch.einsum("btd,bt->bd", hidden, weights)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy."""
        return functional.cross_entropy(self.head(self.features(ids, mask)), labels)


def load(task: dict[str, Any], arrays: Any) -> Classifier:
    """The classifier of a task: encoder as given, head from the task's arrays."""
    encoder = BertModel.from_pretrained(
        task["weights"],
        add_pooling_layer=False,
        attn_implementation=task.get("attention", "sdpa"),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        dtype=torch.float32,
    )
    return Classifier(encoder, (arrays["head_kernel"], arrays["head_bias"]))


def add_lora(model: Classifier, rank: int, arrays: Any) -> None:
    """Wraps all linear layers of the encoder by peft, starting from the task's own A."""
    layers = model.encoder.config.num_hidden_layers
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LINEAR, bias="none")
    model.encoder = get_peft_model(model.encoder, config)
    parameters = dict(model.encoder.named_parameters())
    for index in range(layers):
        for ours, theirs in SITES.items():
            name = f"base_model.model.encoder.layer.{index}.{theirs}.lora_A.default.weight"
            parameters[name].data.copy_(torch.from_numpy(arrays[f"lora_a/{index}/{ours}"]))


def steps(task: dict[str, Any], arrays: Any) -> dict[str, worker.Command]:
    """Commands of a step benchmark."""
    model = load(task, arrays).train()
    if task["method"] == "lora":
        add_lora(model, task["rank"], arrays)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=task["learning_rate"], weight_decay=0.0, fused=True)
    forward = torch.compile(model) if task["compile"] else model
    batches = [
        tuple(torch.from_numpy(arrays[name][row]) for name in ("ids", "mask", "labels"))
        for row in np.split(np.arange(len(arrays["ids"])), len(arrays["ids"]) // task["batch"])
    ]
    count = 0

    def step() -> float:
        nonlocal count
        loss = forward(*batches[count % len(batches)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        count += 1
        return loss.item()

    def run(count: int) -> dict[str, Any]:
        pairs = [worker.timed(step) for _ in range(count)]
        return {"losses": [loss for loss, _ in pairs], "seconds": [seconds for _, seconds in pairs]}

    def first() -> dict[str, Any]:
        result = run(1)
        return {**result, "trainable": sum(p.numel() for p in trainable)}

    def forget() -> dict[str, Any]:
        worker.forget_peak()
        return {}

    return {"first": first, "run": run, "forget": forget}


def probe(task: dict[str, Any], arrays: Any) -> dict[str, worker.Command]:
    """Commands of the probe: the usual epoch, which runs the frozen encoder, and epochs on features cached by hand."""
    model = load(task, arrays).eval()
    model.encoder.requires_grad_(False)
    features = torch.compile(model.features) if task["compile"] else model.features
    ids, mask, labels = (torch.from_numpy(arrays[name]) for name in ("ids", "mask", "labels"))
    generator = torch.Generator().manual_seed(0)

    def start(head: torch.nn.Linear) -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        rate = task["learning_rate"]
        parameters = head.parameters()
        return head, torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, fused=True)

    usual, by_hand = start(model.head), start(copy.deepcopy(model.head))

    def encode(rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return features(ids[rows], mask[rows])

    def one_epoch(trained: Any, of: Any) -> float:
        (head, optimizer), losses = trained, []
        for rows in torch.randperm(len(ids), generator=generator).split(task["batch"]):
            loss = functional.cross_entropy(head(of(rows)), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        return float(np.mean(losses))

    def epoch() -> dict[str, Any]:
        loss, seconds = worker.timed(lambda: one_epoch(usual, encode))
        return {"loss": loss, "seconds": seconds}

    def cached(epochs: int) -> dict[str, Any]:
        def run() -> float:
            kept = torch.cat([encode(rows) for rows in torch.arange(len(ids)).split(task["batch"])])
            return [one_epoch(by_hand, lambda rows: kept[rows]) for _ in range(epochs)][-1]

        loss, seconds = worker.timed(run)
        return {"loss": loss, "seconds": seconds}

    return {"epoch": epoch, "cached": cached}


def setup(task: dict[str, Any]) -> dict[str, worker.Command]:
    """Commands of a task."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(os.cpu_count() or 1)
    arrays = np.load(task["arrays"])
    return (probe if task["method"] == "probe" else steps)(task, arrays)


if __name__ == "__main__":
    worker.serve(setup)
