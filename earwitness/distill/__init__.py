"""Distillation: a small student keeps a large teacher's judgement.

The losses are here as functions of tensors, and `Lessons`, which is all that a student needs of its
teacher. The strategy ``distil`` learns from them; `earwitness.teaching` and ``earwitness distill`` make
them.
"""

from earwitness.distill.lessons import Lesson, Lessons
from earwitness.distill.losses import class_means, cosine_loss, kd_loss, nd_loss, norm_loss
from earwitness.distill.projector import Projector

__all__ = [
    "Lesson",
    "Lessons",
    "Projector",
    "class_means",
    "cosine_loss",
    "kd_loss",
    "nd_loss",
    "norm_loss",
]
