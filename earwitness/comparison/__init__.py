"""Many strategies beside each other: what they reach, forget and cost, and which differences are real.

A comparison is of run folders with the same tasks, judged by the same metric: strategy x seed x order
of the tasks. All numbers come from their score files. The rules:

- Methods are compared by the differences of runs with the same seed and order (`statistics` says what
  counts as one observation). Intervals are 95 % Student-t. Of two p-values one belongs to the interval,
  and one (sign flips) takes no shape for granted and cannot be small with few runs. Both are corrected
  for the number of comparisons in their table (Holm).
- A column's best is marked only where its difference to each other method leaves 0 out after that
  correction. Otherwise all that cannot be told apart from the best are marked, by another sign.
- ``joint`` and ``cumulative``, which keep all data, and ``frozen``, which learns one task, are bounds:
  shown, and not ranked. ``naive`` is ranked: where it wins, that must be seen.
- What is missing is counted and named.

Values are fractions, orders count from 1.
"""

from earwitness.comparison.collect import compare
from earwitness.comparison.page import render
from earwitness.comparison.result import Comparison, Mark, Method
from earwitness.comparison.tables import overview
from earwitness.comparison.writing import write

__all__ = ["Comparison", "Mark", "Method", "compare", "overview", "render", "write"]
