"""Metrics in honest words: what each number is, and what it is no evidence for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from earwitness.collapse.values import LENGTHS_AND_ANGLES, OF_THE_HEAD
from earwitness.errors import SettingsError, nearest

__all__ = ["WORDS", "describe"]

WORDS = {
    "nc1": "NC1, tr(Sigma_W Sigma_B^+)/K",
    "nc1_balanced": "NC1, classes of equal weight",
    "nc1_quotient": "NC1 quotient, tr Sigma_W/tr Sigma_B",
    "nc1_quotient_balanced": "NC1 quotient, classes of equal weight",
    "d_prime": "d', pooled standard deviations",
    "predicted_eer": "EER of two equal Gaussians, %",
    "cdnv": "CDNV",
    "within_variance": "variance within classes, pooled",
    "within_variance_balanced": "variance within classes, of equal weight",
    "between_variance": "variance between class means",
    "nc2_equinorm": "NC2 of means, lengths",
    "nc2_equiangular": "NC2 of means, angles",
    "nc2_max_angle": "NC2 of means, off the widest angle",
    "nc2_etf_error": "NC2 of means, off a simplex ETF",
    "nc2_equinorm_weight": "NC2 of the weight, lengths",
    "nc2_equiangular_weight": "NC2 of the weight, angles",
    "nc2_max_angle_weight": "NC2 of the weight, off the widest angle",
    "nc2_etf_error_weight": "NC2 of the weight, off a simplex ETF",
    "weight_cosine": "cosine of the weight's rows, mean",
    "nc3": "NC3, weight against means",
    "nc4_train": "NC4 on training clips, %",
    "nc4_held_out": "NC4 on held-out clips, %",
    "nc5": "NC5, means against data of no class",
    "wg_plus_b": "‖W g + b‖",
}
_BESIDE = ("counts", "dim", "class_variances")
_OF_TWO = ("d_prime", "predicted_eer")
# 0 for any two means, or for a single pair of rows, whatever the network.
_EMPTY_FOR_TWO = (*LENGTHS_AND_ANGLES, "nc2_equiangular_weight")


def describe(metrics: Mapping[str, Any], names: Sequence[str] | None = None) -> str:
    """A table of metrics, and below it what has to be said with them.

    Args:
        metrics: as `CollapseAccumulator.metrics` gives them, also after a way through JSON. Further
            ones can be put in: ``nc1_balanced``, ``nc4_train``, ``nc4_held_out``, ``nc5``.
        names: of the classes; numbers unless given.

    >>> from earwitness.collapse import CollapseAccumulator
    >>> acc = CollapseAccumulator(2, 1).update([[0.0], [2.0], [5.0], [7.0]], [0, 0, 1, 1])
    >>> told = describe(acc.metrics(), ["bonafide", "spoof"])
    >>> print(told.splitlines()[0])
    2 classes, 4 clips in 1 dimension(s): bonafide 2, spoof 2
    >>> "NC2: not informative with two classes" in told
    True

    Raises:
        SettingsError: a metric is not known, there are no counts, or not one name for each class.
    """
    _require_known(metrics)
    counts = list(metrics["counts"])
    names = [f"class {place}" for place in range(len(counts))] if names is None else list(names)
    if len(names) != len(counts):
        raise SettingsError(
            f"describe: {len(names)} names for {len(counts)} classes; expected one each."
        )
    clips = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
    size = f" in {metrics['dim']} dimension(s)" if "dim" in metrics else ""
    head = f"{len(counts)} class{'es' * (len(counts) > 1)}, {sum(counts):,} clips{size}: {clips}"
    return "\n".join([head, *_table(metrics, names), *_remarks(metrics, names)])


def _require_known(metrics: Mapping[str, Any]) -> None:
    unknown = [name for name in metrics if name not in WORDS and name not in _BESIDE]
    if unknown:
        raise SettingsError(f"describe: no metric {unknown[0]!r}{nearest(unknown[0], WORDS)}")
    if "counts" not in metrics:
        raise SettingsError("describe: no counts; expected what CollapseAccumulator.metrics gives.")


def _table(metrics: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    two = len(names) == 2
    no_head = [metrics.get(name) for name in OF_THE_HEAD]
    left_out = {*_EMPTY_FOR_TWO} if two else {*_OF_TWO}
    if isinstance(no_head[0], str) and len(set(no_head)) == 1:  # one line for all is enough
        left_out |= {*OF_THE_HEAD}
    for name, label in WORDS.items():
        if name in metrics and name not in left_out:
            yield _line(label, metrics[name])
    for name, variance in zip(names, metrics.get("class_variances", ()), strict=False):
        yield _line(f"variance of {name}", variance)


def _line(label: str, value: Any) -> str:
    if isinstance(value, str):
        return f"{label:42}{value}"
    return f"{label:42}{100 * value if label.endswith('%') else value:.4g}"


def _remarks(metrics: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    yield from _of_two(metrics) if len(names) == 2 else _of_more(metrics, len(names))
    counts = list(metrics["counts"])
    most, total = max(counts), sum(counts)
    if most * len(counts) > 1.5 * total:
        yield (
            f"Imbalance: {names[counts.index(most)]} has {100 * most / total:.0f} % of the clips and "
            "dominates what is pooled (NC1, its quotient); look at those with classes of equal weight."
        )
    single = [name for name, count in zip(names, counts, strict=True) if count == 1]
    if single:
        yield f"A single clip has no variance, so 0 says nothing there: {', '.join(single)}."
    if any(name.startswith("nc4") for name in metrics):
        yield (
            "NC4: how often the last layer and the nearest mean decide differently. A clip where they "
            "do is remarkable only as far as this is rare."
        )
    yield "All of this describes a network's own embedding; it is no second opinion on its decisions."


def _of_two(metrics: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "NC1: of two classes it is 2/d'^2, where d' is the distance of the means in pooled standard "
        "deviations along it. It restates how separable the classes are and is no evidence beyond that."
    )
    if not isinstance(metrics.get("predicted_eer", ""), str):
        yield (
            f"Two Gaussians of equal variance that far apart would have an EER of "
            f"{100 * metrics['predicted_eer']:.3g} % by the nearest mean; real embeddings may differ."
        )
    yield (
        "NC2: not informative with two classes. About their midpoint two means always have equal "
        "lengths and opposite directions, so it is 0 for any network. Bonafide and one class for each "
        "generator would make it say something."
    )


def _of_more(metrics: Mapping[str, Any], classes: int) -> Iterator[str]:
    if 0 < metrics.get("dim", classes) < classes - 1:
        yield (
            f"NC2: a simplex ETF of {classes} classes needs {classes - 1} dimensions and there are "
            f"{metrics['dim']}, so its error can't be 0 for any network."
        )
    if classes > 2:
        yield (
            "NC1, CDNV and NC2 are 0 at collapse. On training clips they say how far training has "
            "gone, and low values do not say that other generators are told apart."
        )
