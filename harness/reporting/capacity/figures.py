"""The figure of a capacity report: MRR, and the gain of the full method over L1, against the student's dimension."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from harness.reporting.capacity.numbers import BASE, FULL, Numbers
from harness.reporting.capacity.verdicts import dimension
from harness.reporting.data.frames import records
from harness.reporting.output.figures import figure, label_ends, signed_ticks
from harness.vocabulary import GRAY, LIGHT, arm_colors, arm_name, student_arms


def capacity(numbers: Numbers, path: Path) -> bool:
    """Draw test MRR of a backbone's arms, and the gain over L1, against the dimension; False: nothing to draw.

    Bands and bars are 95 % intervals; of the gain, filled markers are decided ones, and the shade is the interval of
    the threshold. Without a gain there is one panel.
    """
    means = numbers.means[numbers.means["metric"] == "mrr"]
    arms = student_arms(means["arm"])
    gains = numbers.gain()
    if not arms:
        return False
    dims = sorted(int(dim) for dim in means[means["arm"].isin(arms)]["dim"].unique())
    colors = arm_colors([*arms, "teacher"])
    with figure(path, 2.2, columns=1 if gains.empty else 2) as axes:
        lines = []
        for arm in arms:
            by_dim = means[means["arm"] == arm].sort_values("dim")
            x = by_dim["dim"].astype(float)
            axes[0].fill_between(x, by_dim["low"], by_dim["high"], color=colors[arm], alpha=0.14, linewidth=0)
            style = "--" if arm == "none" else "-"
            axes[0].plot(x, by_dim["mean"], style, color=colors[arm], marker="o", markersize=3.5, clip_on=False)
            lines.append((arm_name(arm), float(by_dim["mean"].iloc[-1]), colors[arm]))
        for row in records(means[means["arm"] == "teacher"]):
            axes[0].axhline(row["mean"], color=colors["teacher"], linewidth=1, zorder=0)
            axes[0].axhspan(row["low"], row["high"], color=colors["teacher"], alpha=0.1, linewidth=0, zorder=0)
            lines.append((f"teacher, {row['dim']}-d", row["mean"], colors["teacher"]))
        axes[0].set_ylabel("test MRR")
        _dimensions(axes[0], dims, last=1)
        label_ends(axes[0], lines)
        if not gains.empty:
            _gains(axes[1], numbers, dims)
    return True


def _gains(axes: Axes, numbers: Numbers, dims: list[int]) -> None:
    gains = numbers.gain()
    color = arm_colors([FULL])[FULL]
    _dimensions(axes, dims, last=1.25)
    axes.axhline(0, color=GRAY, linewidth=0.8, zorder=1)
    for row in records(gains):
        axes.plot([row["dim"]] * 2, [row["difference_low"], row["difference_high"]], color=color, linewidth=1.6)
        face = "white" if row["verdict"] == "undecided" else color
        axes.plot(row["dim"], row["difference"], "o", color=color, markerfacecolor=face, markersize=5.5)
    axes.plot(gains["dim"].astype(float), gains["difference"], color=color, linewidth=0.6, zorder=1.5)
    signed_ticks(axes.yaxis, 6)
    axes.set_ylabel(f"{arm_name(FULL)} minus {arm_name(BASE)}")
    for row in records(numbers.thresholds):
        left, right = axes.get_xlim()
        low, place, high = (min(max(row[key], left), right) for key in ("low", "threshold", "high"))
        axes.axvspan(low, high, color=LIGHT, alpha=0.55, linewidth=0, zorder=0)
        side = "left" if place == left else "right" if place == right else "center"
        if side == "center":
            axes.axvline(place, color=GRAY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
        name = "no threshold" if side == "right" else "threshold"
        words = dimension(row["threshold"], row).removeprefix("none ")
        axes.annotate(f"{name} {words}", (place, 1), (0, 3), ("data", "axes fraction"), "offset points", ha=side,
                      fontsize=8, color=GRAY)  # fmt: skip


def _dimensions(axes: Axes, dims: list[int], last: float) -> None:
    """A logarithmic axis with a tick at each dimension, which ends at ``last`` times the largest."""
    axes.set_xscale("log")
    axes.set_xlim(dims[0] / 1.15, dims[-1] * last)
    axes.set_xticks(dims, [str(dim) for dim in dims])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("dimension of the student")
