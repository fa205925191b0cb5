"""From the student's embedding to one of the teacher's dim, while the student learns and no longer."""

from torch import Tensor, nn

from earwitness.errors import SettingsError

__all__ = ["Projector"]


class Projector(nn.Sequential):
    """Batch norm, dropout, linear: the branch that the ND loss hears; logits never go through it.

    As in the released code of arXiv 2305.17007, whose dropout is 0.5. It belongs to no detector: what a
    student is afterwards has the weights that it would have without a teacher.

    >>> import torch
    >>> Projector(8, 32)(torch.randn(4, 8)).shape
    torch.Size([4, 32])

    Raises:
        SettingsError: dropout outside 0 to below 1.
    """

    def __init__(self, student: int, teacher: int, dropout: float = 0.5):
        if not 0 <= dropout < 1:
            raise SettingsError(f"projector: dropout is {dropout}, expected 0 to below 1.")
        super().__init__(nn.BatchNorm1d(student), nn.Dropout(dropout), nn.Linear(student, teacher))

    def forward(self, embedding: Tensor) -> Tensor:
        """(clips, student's dim) to (clips, teacher's dim).

        Raises:
            SettingsError: one clip alone, while it learns.
        """
        if self.training and len(embedding) == 1:
            raise SettingsError(
                "the projector between student and teacher normalises over a batch and was given one "
                "clip alone; raise training.batch_size, or lower training.accumulate."
            )
        return super().forward(embedding)
