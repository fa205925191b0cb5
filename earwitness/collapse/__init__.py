"""Neural collapse: how far embeddings have drawn together around their class means.

``h`` (N, D) are embeddings (what goes into the last linear layer, in eval mode, not normalised), ``y``
classes, 0 to K - 1. mu_c is the mean of class c, g = (1/K) Σ_c mu_c (classes weigh the same), Mdot
the rows mu_c - g, v_c = mean_c ‖h - mu_c‖², Sigma_W = (1/N) Σ_i (h_i - mu_y)(.)^T, Sigma_B =
(1/K) Σ_c (mu_c - g)(.)^T; W, b are the last layer. `CollapseAccumulator.metrics` has

| name | definition |
| --- | --- |
| ``nc1`` | tr(Sigma_W Sigma_B^+) / K |
| ``nc1_quotient`` | tr Sigma_W / tr Sigma_B |
| ``nc1_quotient_balanced`` | the same with Sigma_W^bal, the mean over classes of their covariances |
| ``cdnv`` | mean over i < j of (v_i + v_j) / (2 ‖mu_i - mu_j‖²) |
| ``nc2_equinorm`` | standard deviation of ‖mu_c - g‖ over its mean |
| ``nc2_equiangular`` | standard deviation over c != c' of cos(mu_c - g, mu_c' - g) |
| ``nc2_max_angle`` | mean over c != c' of abs(cos(mu_c - g, mu_c' - g) + 1/(K-1)) |
| ``nc2_etf_error`` | ‖ M M^T / ‖M M^T‖_F - (I - 11^T/K) / sqrt(K-1) ‖_F with M = Mdot |
| ``nc2_..._weight`` | the same four of the rows w_c as they are, not centred |
| ``weight_cosine`` | mean over c != c' of cos(w_c, w_c') |
| ``nc3`` | ‖ W/‖W‖_F - Mdot/‖Mdot‖_F ‖_F² |
| ``wg_plus_b`` | ‖W g + b‖ |
| ``class_variances`` | v_c, one a class |
| ``within_variance`` | tr Sigma_W |
| ``within_variance_balanced`` | tr Sigma_W^bal = (1/K) Σ_c v_c |
| ``between_variance`` | tr Sigma_B |
| ``d_prime`` | K = 2: ‖mu_1 - mu_0‖ over the pooled standard deviation along it; NC1 = 2/d'^2 |
| ``predicted_eer`` | K = 2: Phi(-1/sqrt(2 NC1)), of two Gaussians of equal variance |
| ``counts``, ``dim`` | clips a class, and D |

and beside it are `nc4_mismatch`, `nc1_by_projection` (for ``nc1_balanced``, and where D x D is too
large) and `nc5`. ``weight_cosine`` is from -1 to 1, all else 0 or more; NC1 to NC4 are 0 at collapse.

Conventions, since public code differs: g is not weighted by the number of clips; NC1 is divided by K
(times K, it is that of the first authors' notebook); standard deviations are over all classes, with no
degree of freedom taken off (times sqrt(K/(K-1)), ``nc2_equinorm`` is the notebook's); eigenvalues of
Sigma_B below max(K, D) * 2.2e-16 of the largest are left out; NC4 counts the bias in.

**What has no value is `Undefined`** and says why: with one class, a class without a clip, means that
coincide, a weight of zeros. It prints as ``undefined: why`` and can't be calculated with.

**Two classes.** NC1 is 2/d'^2: how separable the classes are, and no evidence beyond that. NC2 of means
is 0 for any network. `describe` says so beside the numbers; `relabel` makes bonafide and one class for
each generator, for which NC2 says something.

NC1 to NC4: Papyan, Han & Donoho, "Prevalence of neural collapse during the terminal phase of deep
learning training", PNAS 2020. CDNV: Galanti, György & Hutter, "On the role of neural collapse in
transfer learning", ICLR 2022. Needs no torch, and takes its tensors.

>>> acc = CollapseAccumulator(num_classes=3, dim=2)
>>> acc.update([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]], [0, 1, 2])
CollapseAccumulator(num_classes=3, dim=2, clips=[1, 1, 1])
>>> found = acc.metrics()
>>> found["nc1"], round(found["nc2_etf_error"], 12), str(found["d_prime"])
(0.0, 0.0, 'undefined: it is of two classes, and there are 3')
"""

from earwitness.collapse.accumulator import CollapseAccumulator
from earwitness.collapse.classes import Relabelled, relabel
from earwitness.collapse.passes import nc1_by_projection, nc4_mismatch, nc5
from earwitness.collapse.undefined import Undefined
from earwitness.collapse.words import describe

__all__ = [
    "CollapseAccumulator",
    "Relabelled",
    "Undefined",
    "describe",
    "nc1_by_projection",
    "nc4_mismatch",
    "nc5",
    "relabel",
]
