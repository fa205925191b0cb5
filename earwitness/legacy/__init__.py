"""The YAML files, logs and commands of the RWM, RAWM and EVDA repositories, run with earwitness.

Read for their formats: Cecile-hi/Radian-Weight-Modification (d2087fc), Cecile-hi/Regularized-
Adaptive-Weight-Modification (bb663ee), Cecile-hi/Evolving-FAD-CL-Benchmark (8dc5845). The first two
are forks of the CLEAR benchmark's trainer and share a dialect, ``clear``; the third is ``evda``.
"""

from earwitness.legacy.commands import legacy

__all__ = ["legacy"]
