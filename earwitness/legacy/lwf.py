"""Learning without forgetting with the strength rising from task to task, as in the CLEAR benchmark."""

from earwitness.errors import SettingsError
from earwitness.strategies.base import Learning
from earwitness.strategies.lwf import LwF
from earwitness.streams import Task

__all__ = ["RisingLwF"]


class RisingLwF(LwF):
    """``LwF`` whose strength goes evenly from 0 at the first of ``tasks`` tasks to ``top`` at the last.

    >>> RisingLwF(tasks=3).rise
    1.0
    """

    def __init__(self, *, tasks: int, top: float = 2.0, temperature: float = 1.0):
        if tasks < 1:
            raise SettingsError(f"tasks is {tasks}, expected >= 1.")
        super().__init__(strength=top, temperature=temperature)
        self.rise = top / max(1, tasks - 1)

    def begin_task(self, learning: Learning, task: Task) -> None:
        """Set the task's strength."""
        self.strength = self.rise * learning.position

    def end_task(self, learning: Learning, task: Task) -> None:
        """The model of now is the next task's teacher, also where the first task's strength is 0."""
        self.teacher.take(learning.detector)
