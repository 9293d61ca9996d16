"""Formats of numbers in the report, and the names and meanings of metrics, labels, states and modes."""

from __future__ import annotations

from hydramobile.measures import MEAN, higher

# metric -> (title, format, meaning). Formats: "share" a percentage, "dB" decibels, "f" four digits, "g" two digits.
METRICS: dict[str, tuple[str, str, str]] = {
    "max_abs": ("max error", "g", "largest absolute difference of any value of any sample"),
    "mean_abs": ("mean error", "g", "mean absolute difference of a sample"),
    "p99_abs": ("p99 error", "g", "99 of 100 values of a sample differ by less"),
    "snr_db": ("SNR", "dB", "signal over error, in decibels; 200 dB stands for equal"),
    "cosine": ("cosine", "f", "cosine of the angle between the two outputs"),
    "err_sens": ("error / range", "g", "largest difference over how far the output moves between samples"),
    "order_flips": (
        "order flips",
        "share",
        "pairs of points on the person whose order in depth comes out the other way round; a tie counts",
    ),
    "abs_rel": ("AbsRel", "g", "mean relative difference in depth on the person, after scale and shift"),
    "delta_1.25": ("δ < 1.25", "share", "points on the person whose depth is within a factor of 1.25"),
    "delta_1.05": ("δ < 1.05", "share", "points on the person whose depth is within a factor of 1.05"),
    "whdr_loss": (
        "WHDR loss",
        "share",
        "rise of the share of wrong pairs against labels (WHDR) above the float32 net's; below 0 it happened to help",
    ),
    "iou": ("IoU", "f", "overlap of the two masks (alpha over one half): intersection over union"),
    "mae": ("MAE", "g", "mean absolute difference of the matte"),
    "angle_mean": ("normals", "g", "mean angle between the surface normals, in degrees"),
    "angle_p95": (
        "normals p95",
        "g",
        "95th percentile of the angle between the surface normals, in degrees",
    ),
    "turned_5": ("turned > 5°", "share", "pixels whose surface normal turned by more than 5 degrees"),
    "top1": ("top-1", "share", "inputs with the same best class"),
}
# judge -> its task metrics; the first one summarizes an output.
TASK = {
    "relative-depth": ("order_flips", "abs_rel", "delta_1.25", "delta_1.05"),
    "alpha-matte": ("iou", "mae"),
    "surface-normals": ("angle_mean", "angle_p95", "turned_5"),
    "class-scores": ("top1",),
}
EVIDENCE = {
    "host": "measured on the computer that made this, in the runtime itself; a phone differs",
    "static": "read from the files, nothing is run",
    "interpreted": "computed by an interpreter of the saved file, this project's own or a vendor's: it proves the "
    "file's weights, layout and arithmetic, not the vendor's kernels",
    "measured-on-device": "measured on a phone or tablet",
    "browser-host": "measured in a browser on this computer",
    "emulated-arm": "computed by ARM code in an emulator: its numbers, not its speed",
    "instruction-proxy": "work counted in instructions, not time",
}
STATES = {
    "ships": ("✓", "good", "must ship, and every limit holds in every runtime that ran it"),
    "passes": ("✓", "good", "a candidate; every limit holds"),
    "refused": ("○", "warn", "a candidate over a limit: it is not shipped, and nothing is broken"),
    "stale": ("↻", "warn", "its evidence belongs to an earlier export"),
    "unjudged": ("–", "warn", "no runtime compared it with the reference"),
    "missing": ("–", "warn", "there is no artifact"),
    "broken": ("✗", "bad", "must ship, but is over a limit"),
    "failed": ("✗", "bad", "a stage failed: see the reason"),
}
MODES = {
    "direct": "from the input",
    "boundary": "on the reference's features",
    "chain": "on exported features",
    "drawn": "on drawn inputs",
    "labels": "against labels",
    "against": "against the model it stands in for",
    "open": "while loading",
    "run": "while running",
    "dtypes": "stored types",
    "environment": "what the browser offers",
    "size": "bytes that an app ships",
    "bisect": "the first tensor that differs",
    "": "before any entry",
}


def perfect(metric: str) -> float:
    """Return the value of `metric` for equal outputs; with this value there is no worst sample."""
    return {"snr_db": 200.0}.get(metric, 1.0 if higher(metric) else 0.0)


def metric_name(metric: str) -> str:
    plain = metric.removeprefix(MEAN)
    return metric[: len(metric) - len(plain)] + METRICS.get(plain, (plain, "g", ""))[0]


def number(metric: str, value: float) -> str:
    """Format a value of `metric` with its significant digits."""
    form = METRICS.get(metric.removeprefix(MEAN), (metric, "g", ""))[1]
    if form == "share":
        return percent(value)
    if form == "dB":
        return f"{value:.0f} dB"
    # Nine in ten overlaps are above .99: four digits, or more if four would round up to a perfect 1.
    if form == "f":
        return f"{value:.4f}" if value == 1.0 or value < 0.99995 else f"{value:.7f}".rstrip("0")
    return small(value)


def small(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}" if abs(value) >= 1e-3 else f"{value:.1e}".replace("e-0", "e-")


def percent(value: float) -> str:
    """Format a share as a percentage with about three digits."""
    scaled = value * 100
    if scaled in (0.0, 100.0):
        return f"{scaled:.0f} %"
    if 99.9 < scaled < 100:
        return f"{scaled:.3f} %"
    return f"{scaled:.3g} %" if scaled < 100 else f"{scaled:.0f} %"


def used(value: float) -> str:
    """Format a share of a limit in whole percent."""
    return "< 1 %" if 0 < value < 0.01 else "∞" if value == float("inf") else f"{value:.0%}".replace("%", " %")


def megabytes(count: float | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def milliseconds(value: float | None) -> str:
    """Format milliseconds with three digits."""
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def limit(metric: str, value: float) -> str:
    """Format a limit with the sign of the side on which a value passes."""
    sign = "≥" if higher(metric) else "≤"
    form = METRICS.get(metric, ("", "g", ""))[1]
    shown = percent(value) if form == "share" else f"{value:g} dB" if form == "dB" else f"{value:g}"
    return f"{sign} {shown}"
