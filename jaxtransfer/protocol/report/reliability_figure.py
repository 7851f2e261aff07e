"""The reliability diagram of a calibration with its intervals, beside what it was before."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxtransfer.protocol.report import drawing


def reliability_change(
    diagram: Mapping[str, Any], before: Mapping[str, Any] | None
) -> drawing.Painter:
    """Accuracy against confidence with Wilson intervals, above the bins' examples.

    Args:
      diagram: a `Reliability` as plain values.
      before: the one before recalibration, drawn faintly behind; None draws none.
    """
    edges, count, confidence, accuracy, low, high = (
        np.array([np.nan if value is None else value for value in diagram[name]], np.float64)
        for name in ("edges", "count", "confidence", "accuracy", "low", "high")
    )
    filled = count > 0

    def paint(figure: Any) -> None:
        figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, hspace=0.02)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4.2, 1))
        top.plot((0, 1), (0, 1), color=drawing.MUTED, linewidth=1.2, linestyle=(0, (3, 3)))
        if before is not None:
            points = [
                (x, y)
                for x, y in zip(before["confidence"], before["accuracy"], strict=True)
                if x is not None and y is not None
            ]
            top.plot(*zip(*points, strict=True), color=drawing.MUTED, linewidth=1.2, alpha=0.55)
        top.vlines(
            confidence[filled],
            low[filled],
            high[filled],
            color=drawing.ACCENT,
            linewidth=1.75,
            alpha=0.55,
        )
        top.plot(
            confidence[filled], accuracy[filled], "o-", color=drawing.ACCENT, markersize=5, zorder=3
        )
        top.set_ylim(-0.02, 1.02)
        top.set_yticks(np.linspace(0, 1, 5), ["0", "0.25", "0.5", "0.75", "1"])
        centres = (edges[:-1] + edges[1:]) / 2
        bottom.bar(
            centres, count, np.diff(edges) * 0.86, color=drawing.MUTED, alpha=0.45, linewidth=0
        )
        bottom.set_ylim(0, max(float(count.max()), 1.0) * 1.05)
        bottom.set_yticks([])
        bottom.set_xlim(-0.02, 1.02)
        bottom.set_xticks(np.linspace(0, 1, 5), ["0", "0.25", "0.5", "0.75", "1"])
        for axes in (top, bottom):
            axes.spines["left"].set_visible(False)
        top.grid(axis="y", color=drawing.LINE)
        top.set_axisbelow(True)

    return paint
