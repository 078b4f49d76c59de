"""One layer, loss, penalty or optimiser as a page: its derivation typeset, its worked example, and numbers that answer."""

from minigan.explain.subject.build import PAGE_MARK, make_page

__all__ = ["PAGE_MARK", "make_page"]
