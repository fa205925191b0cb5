"""Selection: which clips of a corpus are learned from. One rule a file, in this table.

`select` chooses by embeddings, labels and generators, and knows nothing of files. Neural-collapse
sampling is ``nearest-mean`` for bonafide clips and ``kmeans-nearest`` for spoofs: Yousif et al., arXiv
2404.13008, of which the abstract is public; what it leaves open is our choice.
"""

from earwitness.selection.base import Chosen, Selector
from earwitness.selection.pool import Pool
from earwitness.selection.selecting import Selection, select
from earwitness.shelf import Shelf

__all__ = ["SELECTORS", "Chosen", "Pool", "Selection", "Selector", "select"]

SELECTORS = Shelf(
    "earwitness.selection",
    "selection rule",
    {
        "per-generator-cap": "per_generator_cap:PerGeneratorCap",
        "kmeans-nearest": "kmeans_nearest:KMeansNearest",
        "nearest-mean": "nearest_mean:NearestMean",
        "random": "random:Random",
        "furthest": "furthest:Furthest",
        "margin": "margin:Margin",
        "herding": "herding:Herding",
    },
    helpers=("base", "clusters", "coverage", "pool", "quotas", "selecting", "sources", "union"),
)
