"""Ratios of a benchmark run and their table, as pure functions of what `peers.py` measured."""

from typing import Any

import numpy as np

OURS, FULL, BARE = "jaxtransfer", "jaxtransfer, full", "jaxtransfer, without LoRA"
TARGETS = {"lora": 0.75, "full": 1.0, "probe": 10.0}
"""LoRA step over the peer's and over our own full step, at most; the peer's probe over ours, at least."""


def per_round(result: dict[str, Any]) -> np.ndarray:
    """Median seconds of a step in each round."""
    return np.median(np.asarray(result["rounds"]), axis=1)


def ratio(numerator: dict[str, Any], denominator: dict[str, Any]) -> dict[str, float]:
    """Time over time: quartiles over rounds, which pair neighbours in time, and of the fastest steps."""
    ratios = per_round(numerator) / per_round(denominator)
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    fastest = np.min(numerator["rounds"]) / np.min(denominator["rounds"])
    return {"median": middle, "low": low, "high": high, "fastest": float(fastest)}


def faster_peer(contenders: dict[str, Any]) -> str:
    """The peer's form with the lower median."""
    peers = [name for name in contenders if not name.startswith(OURS)]
    return min(peers, key=lambda name: float(np.median(per_round(contenders[name]))))


def markdown(found: dict[str, Any]) -> str:
    """The report of a run."""
    environment = found["environment"]
    versions = ", ".join(f"{name} {value}" for name, value in environment["versions"].items())
    lines = [
        "# jaxtransfer against transformers + peft, float32",
        "",
        f"`{environment['command']}` on {environment['cores']} cores of {environment['processor']},"
        f" Python {environment['python']}, {versions}; load before the run"
        f" {environment['load_before']:.2f}; {found['seconds'] / 60:.0f} minutes.",
        "",
    ]
    for name, workload in found["steps"].items():
        lines += _steps(name, workload)
    if "probe" in found:
        lines += _probe(found["probe"])
    return "\n".join(lines)


def _steps(name: str, workload: dict[str, Any]) -> list[str]:
    contenders = workload["contenders"]
    lines = [
        f"## {name}: MiniLM, batch {workload['batch']}, {workload['length']} tokens, LoRA of rank 8 on all linear layers",
        "",
        "| | trainable | step, median ms | step, fastest ms | start to first step, s | peak of steps, MiB |"
        " peak to first step, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for contender, result in contenders.items():
        lines.append(
            f"| {contender} | {result['trainable']:,} | {1e3 * np.median(per_round(result)):.0f} |"
            f" {1e3 * np.min(result['rounds']):.0f} | {result['seconds_from_start_to_first_step']:.1f} |"
            f" {result['peak_mib_of_steps']:.0f} | {result['peak_mib_to_first_step']:.0f} |"
        )
    peer = faster_peer(contenders)
    lines += ["", _against(f"LoRA over {peer}", contenders, OURS, peer, TARGETS["lora"])]
    if BARE in contenders:
        floor = ratio(contenders[BARE], contenders[peer])["median"]
        lines.append(
            f"- Our forward pass and the gradient back to the first block, with no LoRA at all, take {floor:.2f} of the"
            " peer's whole step: what XLA's matrix products and attention leave to gain here."
        )
    if FULL in contenders:
        lines.append(
            _against("LoRA over our own full step", contenders, OURS, FULL, TARGETS["full"])
        )
    return [*lines, ""]


def _against(title: str, contenders: dict[str, Any], ours: str, other: str, target: float) -> str:
    found = ratio(contenders[ours], contenders[other])
    verdict = "met" if found["median"] <= target else "missed"
    return (
        f"- {title}: **{found['median']:.2f}** of its time (quartiles of {len(contenders[ours]['rounds'])} rounds"
        f" {found['low']:.2f} to {found['high']:.2f}; fastest steps {found['fastest']:.2f});"
        f" target at most {target:.2f}: {verdict}."
    )


def _probe(probe: dict[str, Any]) -> list[str]:
    ours = [run["seconds"] for run in probe["ours"]]
    middle = probe["ours"][int(np.argsort(ours)[len(ours) // 2])]
    gain = probe["peer_seconds"] / middle["seconds"]
    by_hand = probe["peer_cached_by_hand"]["seconds"] / middle["seconds"]
    verdict = "met" if gain >= TARGETS["probe"] else "missed"
    last = probe["peer_epochs"][probe["faster_peer"]][-1]["loss"]
    return [
        f"## probe: {probe['epochs']} epochs of a linear probe on {probe['documents']:,} documents of"
        f" {probe['length']} tokens, batch {probe['batch']}, end to end",
        "",
        "| | seconds | loss in the last epoch |",
        "|---|---|---|",
        f"| jaxtransfer, compilation included | {middle['seconds']:.1f} (runs: {', '.join(f'{s:.1f}' for s in ours)}) |"
        f" {middle['loss']:.4f} |",
        f"| {probe['faster_peer']}, encoder in every epoch under no_grad | {probe['peer_seconds']:.1f} | {last:.4f} |",
        f"| {probe['faster_peer']}, features cached by hand | {probe['peer_cached_by_hand']['seconds']:.1f} |"
        f" {probe['peer_cached_by_hand']['loss']:.4f} |",
        "",
        f"- The usual loop takes **{gain:.1f}** times ours; target at least {TARGETS['probe']:.0f}: {verdict}. The reason is"
        f" the cache: the frozen encoder runs once ({middle['cache_seconds']:.1f} s of ours) and an epoch on its features"
        f" takes {1e3 * middle['epoch_seconds']:.0f} ms, where the loop runs it in every epoch.",
        f"- A torch loop that caches features by hand takes {by_hand:.2f} times ours: what is left is the encoder's own speed, and our compilation.",
        "",
    ]
