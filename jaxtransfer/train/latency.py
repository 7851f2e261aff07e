"""How long a prediction takes: warm and synchronised, compilation and the first call apart.

Preprocessing and compute are timed separately, and quantiles have distribution-free intervals.
"""

import dataclasses
import gc
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxtransfer.adapt.adapted import Adapted
from jaxtransfer.errors import EvaluationError
from jaxtransfer.models.model import Model
from jaxtransfer.train.compiled import Compiled, CompiledSteps
from jaxtransfer.train.step import Precision, cast, cast_variables, compute_dtype, make_predict

LEVELS = {"p50": 0.5, "p95": 0.95}
PHASES = ("preprocess", "compute", "total")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantile:
    """A quantile of measured times.

    Attributes:
      value: the smallest measured time that at least the share `level` of them do not exceed.
      ci: interval between two measured times; None at an end that so few measurements do not
        bound.
      level: 0.5 for the median.
      n: number of measurements.
    """

    value: float
    ci: tuple[float | None, float | None]
    level: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {"value": self.value, "ci": list(self.ci), "level": self.level, "n": self.n}

    def __str__(self) -> str:
        low, high = ("?" if end is None else f"{end * 1e3:.3g}" for end in self.ci)
        return f"{self.value * 1e3:.3g} ms [{low}, {high}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Latency:
    """Times of predictions for batches of one size, in seconds.

    Attributes:
      batch_size: examples in a call.
      warmup: calls between the first and the timed ones.
      compile_seconds: of tracing and compiling.
      first: by phase, the first call after that.
      quantiles: `p50` and `p95` of each phase: `preprocess` (raw examples to arrays), `compute`
        (arrays to host memory of the device's outputs ready, transfer of the inputs included), and
        `total`.
      samples: by phase, the timed calls, in order.
      confidence: nominal coverage of the intervals.
      notes: what may have disturbed the times.
    """

    batch_size: int
    warmup: int
    compile_seconds: float
    first: Mapping[str, float]
    quantiles: Mapping[str, Mapping[str, Quantile]]
    samples: Mapping[str, tuple[float, ...]]
    confidence: float
    notes: tuple[str, ...]

    @property
    def examples_per_second(self) -> float:
        """Batch size over the median total time."""
        return self.batch_size / self.quantiles["total"]["p50"].value

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values, without the samples."""
        return {
            "batch_size": self.batch_size,
            "repetitions": len(self.samples["total"]),
            "warmup": self.warmup,
            "compile_seconds": self.compile_seconds,
            "first_seconds": dict(self.first),
            "seconds": {
                phase: {name: quantile.to_json() for name, quantile in found.items()}
                for phase, found in self.quantiles.items()
            },
            "examples_per_second": self.examples_per_second,
            "confidence": self.confidence,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        compute, before = self.quantiles["compute"], self.quantiles["preprocess"]
        return (
            f"batch {self.batch_size}: compute p50 {compute['p50']}, p95 {compute['p95']};"
            f" preprocessing p50 {before['p50']}; compiled in {self.compile_seconds:.2f} s"
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """A network compiled for batches of one size, its variables on the device.

    Attributes:
      executable: what was compiled.
      arrays: raw examples to the network's inputs.
      variables: where the executable takes them.
    """

    executable: Compiled
    arrays: Callable[[Sequence[Any]], Mapping[str, np.ndarray]]
    variables: Mapping[str, Any]

    def compute(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, jax.Array]:
        """The outputs, once they are ready."""
        return jax.block_until_ready(self.executable.call(self.variables, dict(inputs)))


def serve(
    source: Model | Adapted,
    batch: Sequence[Any],
    *,
    variables: Mapping[str, Any] | None = None,
    precision: Precision = "auto",
    compiled: CompiledSteps | None = None,
) -> Served:
    """Compiles a prediction of a batch like the given one, on the first device.

    Raises:
      EvaluationError: if preprocessing gives no arrays with a row an example.
    """
    model = source.model if isinstance(source, Adapted) else source
    held = dict(source.variables if variables is None else variables)
    leaves = jax.tree.leaves(held)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        raise EvaluationError(f"model {model.name!r} has shapes and no weights: nothing to serve")
    arrays = model.preprocess or _stack
    inputs = dict(arrays(batch))
    for name, array in inputs.items():
        if len(array) != len(batch):
            raise EvaluationError(
                f"preprocessing made {len(array)} rows of {name!r} from {len(batch)} examples"
            )
    device = jax.devices()[0]
    placed = jax.device_put(held, device)
    shapes = {k: jax.ShapeDtypeStruct(np.shape(x), x.dtype) for k, x in inputs.items()}
    function = (
        make_predict(source, precision=precision)
        if isinstance(source, Adapted)
        else _plain_predict(source, precision)
    )
    compiled = CompiledSteps() if compiled is None else compiled
    executable = compiled.get("serve", lambda: function, (placed, shapes))
    return Served(executable=executable, arrays=arrays, variables=placed)


def measure_latency(
    source: Model | Adapted,
    raw: Sequence[Any],
    *,
    batch_size: int = 1,
    repetitions: int = 100,
    warmup: int = 5,
    variables: Mapping[str, Any] | None = None,
    precision: Precision = "auto",
    confidence: float = 0.95,
    clock: Callable[[], float] = time.perf_counter,
    compiled: CompiledSteps | None = None,
) -> Latency:
    """Times predictions from raw examples to outputs that are ready.

    Every call takes the next `batch_size` raw examples, from the start again after the last. The
    garbage collector rests meanwhile.

    Args:
      source: a model as it is (a merged one, say), or an adapted one with its method acting.
      raw: documents, images or what the model's preprocessing takes, at least one.
      batch_size: examples in a call.
      repetitions: calls that are timed.
      warmup: calls before them, after the first.
      variables: trained ones, if not the source's.
      precision: see `step.compute_dtype`.
      confidence: nominal coverage of the quantiles' intervals.
      clock: gives seconds.
      compiled: where the executable is kept; a fresh one, so that compilation is timed, if left
        out.

    Raises:
      EvaluationError: if there are no examples, no repetitions, or arrays differ in shape from one
        call to the next.
    """
    if not len(raw) or batch_size < 1 or repetitions < 1 or warmup < 0:
        raise EvaluationError(
            f"cannot time {repetitions} calls (after {warmup}) with {batch_size} of {len(raw)}"
            " examples: give one or more of each"
        )
    batches = _batches(raw, batch_size)
    compiled = CompiledSteps() if compiled is None else compiled
    served = serve(
        source, next(batches), variables=variables, precision=precision, compiled=compiled
    )
    load = os.getloadavg()[0]
    rows = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(1 + warmup + repetitions):
            rows.append(_time(served, next(batches), clock))
    finally:
        if collecting:
            gc.enable()
    times = np.array(rows)
    timed = {phase: times[1 + warmup :, i] for i, phase in enumerate(PHASES)}
    return Latency(
        batch_size=batch_size,
        warmup=warmup,
        compile_seconds=served.executable.seconds,
        first={phase: float(times[0, i]) for i, phase in enumerate(PHASES)},
        quantiles={
            phase: {name: quantile(found, level, confidence) for name, level in LEVELS.items()}
            for phase, found in timed.items()
        },
        samples={phase: tuple(found.tolist()) for phase, found in timed.items()},
        confidence=confidence,
        notes=_notes(load),
    )


def quantile(samples: Sequence[float] | np.ndarray, level: float, confidence: float) -> Quantile:
    """A quantile with the order statistics that bound it, whatever the distribution.

    The number of n independent times at or below the quantile is binomial (n, level): the bounds
    are the closest order statistics whose tails have at most (1 - confidence) / 2 each (David and
    Nagaraja, Order Statistics, 2003, section 7.1). There is no such order statistic where n is too
    small: no upper one for the 95th percentile and 95 % confidence below n = 72.

    Raises:
      EvaluationError: if there are no samples, or level or confidence is not between 0 and 1.

    >>> quantile(range(1, 12), 0.5, 0.95)
    Quantile(value=6.0, ci=(2.0, 10.0), level=0.5, n=11)
    """
    from scipy.special import bdtr

    ordered = np.sort(np.asarray(samples, np.float64))
    n = len(ordered)
    if not n or not 0 < level < 1 or not 0 < confidence < 1:
        raise EvaluationError(f"no quantile {level} of {n} times at confidence {confidence}")
    tail = (1 - confidence) / 2
    # at_most[k] is the probability of at most k - 1 times below the quantile.
    at_most = np.concatenate([[0.0], bdtr(np.arange(n), n, level)])
    low = int(np.flatnonzero(at_most <= tail)[-1])
    above = np.flatnonzero(at_most >= 1 - tail)
    return Quantile(
        value=float(np.quantile(ordered, level, method="inverted_cdf")),
        ci=(
            float(ordered[low - 1]) if low else None,
            float(ordered[above[0] - 1]) if above.size else None,
        ),
        level=level,
        n=n,
    )


def _time(served: Served, batch: Sequence[Any], clock: Callable[[], float]) -> list[float]:
    """Seconds of each phase of one call."""
    began = clock()
    inputs = served.arrays(batch)
    ready = clock()
    try:
        served.compute(inputs)
    except TypeError as error:
        shapes = {name: np.shape(array) for name, array in inputs.items()}
        raise EvaluationError(
            f"preprocessing gave arrays {shapes} unlike those that were compiled for; pad them to"
            f" one shape ({error})"
        ) from error
    ended = clock()
    return [ready - began, ended - ready, ended - began]


def _batches(raw: Sequence[Any], batch_size: int) -> Any:
    endless = itertools.cycle(range(len(raw)))
    while True:
        yield [raw[row] for row in itertools.islice(endless, batch_size)]


def _stack(raw: Sequence[Any]) -> dict[str, np.ndarray]:
    return {"inputs": np.stack([np.asarray(value) for value in raw])}


def _plain_predict(model: Model, precision: Precision) -> Callable[..., Any]:
    dtype = compute_dtype(precision)
    model = dataclasses.replace(model, variables={})

    def predict(variables, inputs):
        outputs = model.apply(cast_variables(variables, dtype), cast(dict(inputs), dtype))
        return cast(dict(outputs), np.float32)

    return predict


def _notes(load: float) -> tuple[str, ...]:
    notes = [f"load average {load:.1f} on {os.cpu_count()} processors when timing began"]
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        notes.append("a compilation cache is set: compile_seconds may be those of reading it")
    return tuple(notes)
