"""An opened step as one self-contained HTML page: stations in the order in which the step happens, and their arrays."""

from minigan.explain.page.budget import SAMPLES
from minigan.explain.page.build import LIMIT, PAGE_MARK, make_page, make_pair
from minigan.explain.page.facts import TOLERANCE

__all__ = ["LIMIT", "PAGE_MARK", "SAMPLES", "TOLERANCE", "make_page", "make_pair"]
