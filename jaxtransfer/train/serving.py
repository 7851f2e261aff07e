"""What it costs to serve a network: size, operations, memory and latency, each with its source.

A figure that a platform does not give is None, with the reason.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer import partition, trees
from jaxtransfer.adapt import package
from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.models.model import Model
from jaxtransfer.partition import DELTA
from jaxtransfer.train.compiled import Compiled, CompiledSteps
from jaxtransfer.train.latency import Latency, measure_latency, serve
from jaxtransfer.train.resident import Resident, measure_resident
from jaxtransfer.train.step import Precision, compute_dtype
from jaxtransfer.trees import PARAMS

COMPILED = "compiled estimate: arguments, outputs and temporaries by XLA's memory_analysis"
OPERATIONS = "XLA's cost_analysis of the compiled call; a loop's body counts once"
SUBPROCESS = "RSS of one subprocess"
ALLOCATOR = "device allocator's peak in one subprocess"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a cost.

    Attributes:
      value: None where it is not known.
      unit: such as 'bytes'.
      source: how it was found.
      reason: why it is None.
    """

    value: float | None
    unit: str
    source: str
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values; `reason` is there only where the value is None."""
        document = {"value": self.value, "unit": self.unit, "source": self.source}
        return document if self.reason is None else {**document, "reason": self.reason}

    def __str__(self) -> str:
        if self.value is None:
            return f"unknown ({self.reason})"
        if self.unit == "bytes" and self.value >= 2**20:
            return f"{self.value / 2**20:.1f} MiB"
        return f"{self.value:,.0f} {self.unit}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchCost:
    """The cost of calls of one batch size.

    Attributes:
      batch_size: examples in a call.
      latency: see `latency.measure_latency`.
      figures: `flops` of a call; `compiled_peak`; `rss_baseline`, `rss_peak` and `rss_serving` of a
        subprocess (see `resident.Resident`), and `rss_added`, the peak less the baseline;
        `device_peak`.
    """

    batch_size: int
    latency: Latency
    figures: Mapping[str, Figure]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "batch_size": self.batch_size,
            "latency": self.latency.to_json(),
            **{name: figure.to_json() for name, figure in self.figures.items()},
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingCost:
    """What it costs to serve one network.

    Attributes:
      name: of the model.
      method: that acts on it as it is served, or None.
      device: kind of device and backend.
      precision: dtype of the computation.
      figures: `parameters`, `trainable_parameters` (numbers), `variables_bytes` (all in memory,
        running statistics included), `trainable_bytes`, `adapter_file_bytes`.
      batches: costs by batch size.
    """

    name: str
    method: str | None
    device: str
    precision: str
    figures: Mapping[str, Figure]
    batches: tuple[BatchCost, ...]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "name": self.name,
            "method": self.method,
            "device": self.device,
            "precision": self.precision,
            **{name: figure.to_json() for name, figure in self.figures.items()},
            "batches": [batch.to_json() for batch in self.batches],
        }

    def __str__(self) -> str:
        what = self.name if self.method is None else f"{self.name} with {self.method}"
        lines = [f"{what} on {self.device}, {self.precision}"]
        lines += [f"  {name}: {figure}" for name, figure in self.figures.items()]
        for batch in self.batches:
            lines.append(f"  {batch.latency}")
            lines += [f"    {name}: {figure}" for name, figure in batch.figures.items()]
        return "\n".join(lines)


def measure_serving_cost(
    source: Model | Adapted,
    raw: Sequence[Any],
    batch_sizes: Sequence[int] = (1, 32),
    *,
    variables: Mapping[str, Any] | None = None,
    repetitions: int = 100,
    warmup: int = 5,
    precision: Precision = "auto",
    confidence: float = 0.95,
    resident: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> ServingCost:
    """Measures size, operations, memory and latency of a network from raw examples to outputs.

    Args:
      source: an adapted model, with its method acting; or a model, such as one with the method
        merged into it (`adapt.adapted.merge`).
      raw: raw examples, what the model's preprocessing takes.
      batch_sizes: examples in a call.
      variables: trained ones, if not the source's.
      repetitions: timed calls of each batch size.
      warmup: calls before them.
      precision: see `step.compute_dtype`.
      confidence: nominal coverage of the latencies' intervals.
      resident: whether to start a process a batch size that measures resident memory.
      clock: gives seconds.

    Raises:
      EvaluationError: as `latency.measure_latency`.
    """
    held = source.variables if variables is None else variables
    model = source.model if isinstance(source, Adapted) else source
    batches = []
    for size in batch_sizes:
        compiled = CompiledSteps()
        latency = measure_latency(
            source,
            raw,
            batch_size=size,
            repetitions=repetitions,
            warmup=warmup,
            variables=held,
            precision=precision,
            confidence=confidence,
            clock=clock,
            compiled=compiled,
        )
        batch = [raw[row % len(raw)] for row in range(size)]
        # There already: nothing compiles again.
        served = serve(source, batch, variables=held, precision=precision, compiled=compiled)
        memory = (
            measure_resident(source, raw, batch_size=size, variables=held, precision=precision)
            if resident
            else Resident.unknown("not asked for")
        )
        figures = {**_compiled_figures(served.executable), **_resident_figures(memory)}
        batches.append(BatchCost(batch_size=size, latency=latency, figures=figures))
    device = jax.devices()[0]
    return ServingCost(
        name=model.name,
        method=source.method.name if isinstance(source, Adapted) else None,
        device=f"{device.device_kind} ({device.platform})",
        precision=str(compute_dtype(precision)),
        figures=_sizes(source, held),
        batches=tuple(batches),
    )


def _sizes(source: Model | Adapted, held: Mapping[str, Any]) -> dict[str, Figure]:
    flat = trees.flatten_variables(held)
    others = tuple(f"{name}/" for name in held if name not in (PARAMS, DELTA))
    parameters = {
        path: leaf for path, leaf in flat.items() if not (others and path.startswith(others))
    }
    count = "sum over the leaves"
    figures = {
        "parameters": Figure(value=_number(parameters), unit="parameters", source=count),
        "variables_bytes": Figure(value=_bytes(flat), unit="bytes", source=count),
    }
    if isinstance(source, Adapted):
        trainable = {
            path: leaf for path, leaf in flat.items() if partition.is_trainable(source.labels[path])
        }
        figures["trainable_parameters"] = Figure(
            value=_number(trainable), unit="parameters", source=count
        )
        figures["trainable_bytes"] = Figure(value=_bytes(trainable), unit="bytes", source=count)
        figures["adapter_file_bytes"] = Figure(
            value=_file_bytes(source, held), unit="bytes", source="files of adapt.package.save"
        )
        return figures
    reason = "a model without a method has nothing that trains, and no adapter"
    units = {
        "trainable_parameters": "parameters",
        "trainable_bytes": "bytes",
        "adapter_file_bytes": "bytes",
    }
    for name, unit in units.items():
        figures[name] = Figure(value=None, unit=unit, source=count, reason=reason)
    return figures


def _file_bytes(adapted: Adapted, held: Mapping[str, Any]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        saved = package.save(adapted, f"{scratch}/adapter", variables=held)
        return sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())


def _number(leaves: Mapping[str, Any]) -> int:
    return sum(int(np.size(leaf)) for leaf in leaves.values())


def _bytes(leaves: Mapping[str, Any]) -> int:
    return sum(int(np.size(leaf)) * leaf.dtype.itemsize for leaf in leaves.values())


def _compiled_figures(executable: Compiled) -> dict[str, Figure]:
    """What the backend says of an executable; some say nothing of one or the other."""
    cost, memory = executable.call.cost_analysis(), executable.call.memory_analysis()  # type: ignore[attr-defined]
    flops = (cost or {}).get("flops")
    return {
        "flops": Figure(
            value=None if flops is None else float(flops),
            unit="operations",
            source=OPERATIONS,
            reason="the backend does not count them" if flops is None else None,
        ),
        "compiled_peak": Figure(
            value=None if memory is None else executable.peak_bytes,
            unit="bytes",
            source=COMPILED,
            reason="the backend does not analyse memory" if memory is None else None,
        ),
    }


def _resident_figures(memory: Resident) -> dict[str, Figure]:
    def figure(name: str, source: str) -> Figure:
        value = getattr(memory, name)
        reason = None if value is not None else memory.reasons[name]
        return Figure(value=value, unit="bytes", source=source, reason=reason)

    added = None
    if memory.peak is not None and memory.baseline is not None:
        added = memory.peak - memory.baseline
    return {
        "rss_baseline": figure("baseline", f"{SUBPROCESS}, package imported, before the network"),
        "rss_peak": figure("peak", f"{SUBPROCESS}, at most, loading and compilation included"),
        "rss_added": Figure(
            value=added,
            unit="bytes",
            source=f"{SUBPROCESS}, peak less baseline",
            reason=None if added is not None else memory.reasons.get("peak") or "no baseline",
        ),
        "rss_serving": figure("serving", f"{SUBPROCESS}, at most during calls after the first"),
        "device_peak": figure("device_peak", ALLOCATOR),
    }
