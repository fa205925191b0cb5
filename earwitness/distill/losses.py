"""What a student is held to: a teacher's logits, and the length and direction of its embeddings.

s_i and t_i are the student's and the teacher's embedding of clip i (what goes into the last linear
layer), y_i its class, e_c = m_c / ‖m_c‖ the direction of the teacher's mean of class c:

    ND      l_i = 1 - <s_i, e_{y_i}> / max(‖s_i‖, ‖t_i‖)                    0 to 2
    cosine  l_i = 1 - <s_i, e_{y_i}> / ‖s_i‖                                0 to 2
    norm    l_i = 1 - ‖s_i‖ / max(‖s_i‖, ‖t_i‖)                             0 to 1
    KD      l_i = T² KL(softmax(z_i^t / T) ‖ softmax(z_i^s / T))

so that 1 - ND = (1 - cosine) (1 - norm). ND is 0 where s points along e and is as long as t or longer;
nothing pulls a longer one back. Where s is shorter, its gradient is -e / ‖t‖ whatever s is, which turns
and lengthens it; where s is as long as t or longer, it turns s and leaves its length. The sum of CE, KD
and ND is KD++.

ND: Wang et al., "Improving knowledge distillation via regularizing feature norm and direction", arXiv
2305.17007, as its released code computes it. KD: Hinton et al., "Distilling the knowledge in a neural
network", 2015.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from earwitness.errors import SettingsError

__all__ = ["class_means", "cosine_loss", "kd_loss", "nd_loss", "norm_loss"]

Reduction = Literal["mean", "none"]


def nd_loss(
    student: Tensor,
    teacher: Tensor,
    class_means: Tensor,
    labels: Tensor,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """Norm and direction in one: embeddings along the class's mean, as long as the teacher's.

    Args:
        student: embeddings (clips, dim). Where the teacher's dim is another, project them first.
        teacher: embeddings (clips, dim), or their norms (clips,), which are all that counts.
        class_means: of the teacher's embeddings (classes, dim). A mean of zeros has no direction: its
            clips' loss is 1 and moves nothing.
        labels: class of each clip (clips,), 0 to classes - 1.
        reduction: ``mean`` over clips, or ``none`` (clips,).

    An embedding of zeros has the loss 1; where the teacher's is of zeros too, no gradient.

    >>> means = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> s, t = torch.tensor([[1.0, 0.0], [0.0, 5.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    >>> nd_loss(s, t, means, torch.tensor([0, 1]), reduction="none")
    tensor([0.8000, 0.0000])

    Raises:
        SettingsError: shapes that don't belong together.
    """
    own, along, norm = _measured(student, teacher, class_means, labels)
    # At a tie the cosine branch, as there; torch.maximum would halve the gradient between both.
    longest = torch.where(own >= norm, own, norm)
    return _reduced(1 - _over(along, longest), reduction)


def cosine_loss(
    student: Tensor, class_means: Tensor, labels: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """Direction only: ND for a student that is longer than its teacher. Arguments as of `nd_loss`.

    >>> cosine_loss(torch.tensor([[1.0, 1.0]]), torch.tensor([[7.0, 0.0]]), torch.tensor([0]))
    tensor(0.2929)
    """
    own, along, _ = _measured(student, student.new_zeros(len(student)), class_means, labels)
    return _reduced(1 - _over(along, own), reduction)


def norm_loss(student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Length only: ND for a student that points along its class's mean. Arguments as of `nd_loss`.

    An embedding of zeros has no direction to grow in: its gradient is 0.

    >>> norm_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([10.0]))
    tensor(0.5000)
    """
    own = torch.linalg.vector_norm(student, dim=1)
    norm = _norms(teacher, student)
    return _reduced((1 - _over(own, norm)).where(own < norm, own.new_zeros(())), reduction)


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float = 4.0,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """The teacher's softened opinion: T² KL(teacher ‖ student); logits (clips, classes).

    With two classes decoupled KD is this, times a constant: there is nothing beside the target class.

    >>> float(kd_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]]))) == 0
    True

    Raises:
        SettingsError: a temperature not above 0, or shapes that differ.
    """
    if not temperature > 0:
        raise SettingsError(f"kd_loss: temperature is {temperature}, expected above 0.")
    if student_logits.shape != teacher_logits.shape:
        raise SettingsError(
            f"kd_loss: the student has logits {tuple(student_logits.shape)}, the teacher "
            f"{tuple(teacher_logits.shape)}; both need (clips, classes)."
        )
    softened = F.log_softmax(student_logits / temperature, dim=1)
    wanted = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    each = F.kl_div(softened, wanted, reduction="none", log_target=True).sum(1)
    return _reduced(temperature**2 * each, reduction)


def class_means(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Means (num_classes, dim) of ``features`` (clips, dim) by ``labels`` (clips,), summed in float64.

    >>> class_means(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]), 2)
    tensor([[2.],
            [5.]])

    Raises:
        SettingsError: a class has no clip, or a label is none of the classes.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise SettingsError(
            f"class_means: labels go from {int(labels.min())} to {int(labels.max())}; expected 0 to "
            f"{num_classes - 1}."
        )
    counts = labels.bincount(minlength=num_classes)
    if not bool((counts > 0).all()):
        empty = int((counts == 0).nonzero()[0])
        raise SettingsError(f"class_means: class {empty} has no clip, so it has no mean.")
    sums = features.new_zeros(num_classes, features.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels, features.double())
    return (sums / counts[:, None]).to(features.dtype)


def _measured(
    student: Tensor, teacher: Tensor, means: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Each clip's own norm, its component along its class's direction, and the teacher's norm."""
    if student.ndim != 2 or means.ndim != 2 or student.shape[1] != means.shape[1]:
        raise SettingsError(
            f"the student's embeddings are {tuple(student.shape)} and the class means "
            f"{tuple(means.shape)}; expected (clips, dim) and (classes, dim). A student of another dim "
            "needs a projector."
        )
    if labels.shape != student.shape[:1]:
        raise SettingsError(
            f"labels are {tuple(labels.shape)}; expected one for each of {len(student)}."
        )
    directions = F.normalize(means.detach().to(student.dtype), dim=1)
    own = torch.linalg.vector_norm(student, dim=1)
    return own, (student * directions[labels]).sum(1), _norms(teacher, student)


def _norms(teacher: Tensor, student: Tensor) -> Tensor:
    norms = teacher if teacher.ndim == 1 else torch.linalg.vector_norm(teacher, dim=1)
    if norms.shape != student.shape[:1]:
        raise SettingsError(
            f"the teacher has {tuple(teacher.shape)}; expected embeddings or norms of {len(student)}."
        )
    return norms.detach().to(student.dtype)


def _over(value: Tensor, length: Tensor) -> Tensor:
    """``value / length``, and 0 without a gradient where the length is 0."""
    there = length > 0
    return (value / length.where(there, 1)).where(there, 0)


def _reduced(each: Tensor, reduction: Reduction) -> Tensor:
    return each.mean() if reduction == "mean" else each
