"""What a run found, as one page to read and as JSON, CSV and PNG to work with.

Conventions: error rates are fractions in the data and per cent on the page; an interval is 95 %
and has a mean, a low and a high end, the ends None where one seed gives nothing to judge by. All
numbers are computed from the score files of the run folder, none from a log.
"""

from earwitness.report.collect import build
from earwitness.report.page import render
from earwitness.report.result import Report, StrategyResult
from earwitness.report.writing import FORMATS, write

__all__ = ["FORMATS", "Report", "StrategyResult", "build", "render", "write"]
