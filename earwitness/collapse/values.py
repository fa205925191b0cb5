"""All metrics of one accumulator by name: the table of formulas."""

from typing import Any

import numpy as np

from earwitness.collapse import formulas
from earwitness.collapse.formulas import Moments
from earwitness.collapse.inputs import Floats
from earwitness.collapse.undefined import Undefined, Value, tell

__all__ = ["LENGTHS_AND_ANGLES", "OF_THE_HEAD", "all_values"]

# Of centred class means, and under the same names + "_weight" of the rows of a weight.
LENGTHS_AND_ANGLES = {
    "nc2_equinorm": formulas.equinorm,
    "nc2_equiangular": formulas.equiangular,
    "nc2_max_angle": formulas.max_angle,
    "nc2_etf_error": formulas.etf_error,
}
_NEED_ANGLES = ("nc2_equiangular", "nc2_max_angle")
OF_THE_HEAD = (*(f"{name}_weight" for name in LENGTHS_AND_ANGLES), "weight_cosine", "nc3", "wg_plus_b")


def all_values(moments: Moments, nc1: Value, head: tuple[Floats, Floats] | None) -> dict[str, Any]:
    """Metrics by name; ``nc1`` comes from whoever has the scatter, ``head`` is weight and bias."""
    return {
        "counts": tuple(moments.counts.tolist()),
        "dim": moments.mean.shape[1],
        **_variances(moments),
        "nc1": nc1,
        **_quotients(moments),
        "cdnv": tell(formulas.cdnv, moments),
        **{name: tell(_of_means, name, moments) for name in LENGTHS_AND_ANGLES},
        **_of_two(nc1, len(moments.counts)),
        **_of_head(head, moments),
    }


def _variances(moments: Moments) -> dict[str, Any]:
    pairs = zip(moments.spread.tolist(), moments.counts.tolist(), strict=True)
    by_class = (spread / n if n else Undefined("the class has no clip") for spread, n in pairs)
    return {
        "class_variances": tuple(by_class),
        "within_variance": tell(moments.pooled_variance),
        "within_variance_balanced": tell(moments.balanced_variance),
        "between_variance": tell(moments.between_variance),
    }


def _quotients(moments: Moments) -> dict[str, Value]:
    return {
        "nc1_quotient": tell(lambda: moments.pooled_variance() / moments.between_variance()),
        "nc1_quotient_balanced": tell(lambda: moments.balanced_variance() / moments.between_variance()),
    }


def _of_means(name: str, moments: Moments) -> float:
    rows = moments.off_centre() if name in _NEED_ANGLES else moments.centred()
    return LENGTHS_AND_ANGLES[name](rows)


def _of_two(nc1: Value, classes: int) -> dict[str, Value]:
    """NC1 of two classes in other words."""
    names = ("d_prime", "predicted_eer")
    if classes != 2:
        return dict.fromkeys(names, Undefined(f"it is of two classes, and there are {classes}"))
    if isinstance(nc1, Undefined):
        return dict.fromkeys(names, nc1)
    return {"d_prime": tell(formulas.d_prime, nc1), "predicted_eer": tell(formulas.predicted_eer, nc1)}


def _of_head(head: tuple[Floats, Floats] | None, moments: Moments) -> dict[str, Value]:
    """What needs the last layer; the rows of its weight are not centred."""
    if head is None:
        return dict.fromkeys(OF_THE_HEAD, Undefined("no weight of the last layer was given"))
    weight, bias = head
    of_rows = (*LENGTHS_AND_ANGLES.values(), formulas.mean_cosine)
    found = [tell(formula, weight) for formula in of_rows]
    found.append(tell(lambda: formulas.nc3(weight, moments.centred())))
    found.append(tell(lambda: float(np.linalg.norm(weight @ moments.global_mean() + bias))))
    return dict(zip(OF_THE_HEAD, found, strict=True))
