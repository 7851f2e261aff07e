"""How far a run is: a bar on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

Progress = Callable[[int, int, Mapping[str, float]], None]
"""`progress(step, steps, metrics)`, after some steps; the metrics are the latest row's."""


def make_progress(
    description: str, *, stream: TextIO | None = None, seconds: float = 10.0
) -> Progress:
    """A `Progress` for one run.

    Args:
      description: what is being trained.
      stream: where to write; standard error if left out.
      seconds: least time between two plain lines; the last step always has one.
    """
    out = sys.stderr if stream is None else stream
    return _bar(description, out) if out.isatty() else _lines(description, out, seconds)


def _bar(description: str, out: TextIO) -> Progress:
    from tqdm import tqdm

    bar = tqdm(desc=description, file=out, leave=False, unit="step")

    def progress(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        bar.total = steps
        bar.n = step
        bar.set_postfix_str(_text(metrics), refresh=True)
        if step >= steps:
            bar.close()

    return progress


def _lines(description: str, out: TextIO, seconds: float) -> Progress:
    last = [time.monotonic()]

    def progress(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - last[0] < seconds and step < steps:
            return
        last[0] = now
        print(f"{description}: step {step}/{steps} {_text(metrics)}".rstrip(), file=out, flush=True)

    return progress


def _text(metrics: Mapping[str, float]) -> str:
    shown = [name for name in metrics if name == "loss" or name.startswith("validation/")]
    return " ".join(f"{name}={metrics[name]:.4g}" for name in shown)
