"""Settings chosen on dev: equally many trials for every searched strategy, all of them recorded.

A trial here is one choice of settings for one strategy, learned with each of the search's own seeds and
judged on dev. Test is never scored. In the experiment file::

    [tuning]
    trials = 12                    # for each strategy that has a search
    seeds = [100, 101]             # none of the seeds that are reported
    sampler_seed = 0

    [strategies.ewc.search]
    strength = { low = 0.1, high = 1e4, log = true }   # whole numbers where both ends are
    "training.later_learning_rate" = [0.001, 0.01]     # one of these

Trials are proposed by the tree-structured Parzen estimator (Bergstra et al., "Algorithms for
hyper-parameter optimization", NeurIPS 2011) of Optuna (Akiba et al., KDD 2019), one search a strategy,
which knows nothing of the others. What is written::

    DIR/
      search.toml                what was asked for, overrides included
      trials/<n>/                run folder of every strategy's n-th trial; failed.json has what failed
      tuning.json, tuning.csv    every trial: settings, value, seconds, why it failed
      tuned.toml                 the experiment with the best settings, and how they were chosen
"""

from earwitness.tuning.record import Tried, Tuned
from earwitness.tuning.search import tune

__all__ = ["Tried", "Tuned", "tune"]
