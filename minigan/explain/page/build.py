"""Putting a page together: one HTML file with its styles, its script, its stations and its arrays."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

from minigan.explain.breaking import Breaking
from minigan.explain.history import History
from minigan.explain.page.arrays import Arrays
from minigan.explain.page.budget import BUDGETS, Budget
from minigan.explain.page.names import name_stations
from minigan.explain.page.overview import overview
from minigan.explain.page.pair import Side, compare
from minigan.explain.page.timeline import timeline
from minigan.explain.page.tour_gan import gan_tour
from minigan.explain.page.tour_vae import vae_tour
from minigan.explain.page.walk_gan import GANWalk
from minigan.explain.page.walk_vae import VAEWalk
from minigan.explain.step import OpenedStep, OpenedVAE

PAGE_MARK = "minigan: one training step"  # in the title of every page, which tells it from other files
LIMIT = 5 * 10**6  # bytes of a page
PARTS = {  # the page's sources, joined in this order; page.js comes last, for it starts the page
    "html": ("page.html",),
    "css": ("page.css", "lesson.css", "print.css"),
    "js": (
        *("fit.js", "share.js", "lesson.js", "overview.js", "tour.js", "switches.js", "plane.js", "time.js", "narrow.js"),
        "page.js",
    ),
}


def make_page(
    step: OpenedStep,
    about: str,
    has_data: bool = True,
    *,
    breaking: Breaking | None = None,
    history: History | None = None,
) -> str:
    """The page of at most 5 MB. about: what was opened, in one line. has_data: False where the game's own samples
    stand in for real ones. breaking: what plants the mistakes of the page's switches; None: it has no switches. history: the
    moments of its time slider; None: it has none.

    Large games are shown in part: fewer samples, then the first channels alone; captions say so.
    """
    about = _printable(about)
    for budget in BUDGETS:
        page, _ = _fill(step, about, budget, has_data, breaking, history)
        if len(page.encode()) <= LIMIT:
            break
    return page


def make_pair(sides: Sequence[tuple[OpenedStep, str, bool]]) -> str:
    """The page of two steps side by side, of at most 5 MB: for each the arguments of make_page.

    Raises OptionError for steps of different games.
    """
    for budget in BUDGETS:
        filled = [_fill(step, _printable(about), budget, has_data) for step, about, has_data in sides]
        shown = [Side(step, _printable(about), content) for (step, about, _), (_, content) in zip(sides, filled, strict=True)]
        title = f"{PAGE_MARK}, beside another: {' and '.join(side.about for side in shown)}"
        page = Template(_read("beside.html")).substitute(
            title=html.escape(title),
            css="\n".join(map(_read, ("page.css", "beside.css", "print.css"))),
            compared=_json(compare(shown)),
            pages=_json([text for text, _ in filled]),
            script=_read("fit.js") + _read("beside.js"),
        )
        if len(page.encode()) <= LIMIT:
            break
    return page


def _fill(
    step: OpenedStep,
    about: str,
    budget: Budget,
    has_data: bool,
    breaking: Breaking | None = None,
    history: History | None = None,
) -> tuple[str, dict[str, Any]]:
    """The page, and its content as its script reads it."""
    arrays = Arrays()
    walk: VAEWalk | GANWalk
    if isinstance(step, OpenedVAE):
        walk = VAEWalk(step, arrays, budget, has_data, breaking)
    else:
        walk = GANWalk(step, arrays, budget, has_data, breaking, history)  # type: ignore[arg-type]
    walk.walk()
    name_stations(walk.stations)
    content = {
        "about": about,
        "acts": walk.acts,
        "samples": min(budget.samples, len(step.batch)),
        "batch": len(step.batch),
        "real": walk.real_samples,
        "unit": walk.unit,
        "stations": walk.stations,
        "overview": overview(walk),
        "tour": vae_tour(walk) if isinstance(walk, VAEWalk) else gan_tour(walk),
        "time": timeline(history, arrays) if history and len(history.moments) > 1 else None,
        "live": _live(walk),
        "arrays": arrays.table,
        "sizes": walk.sizes(),
    }
    read = {name: "\n".join(map(_read, parts)) for name, parts in PARTS.items()}
    text = Template(read["html"]).substitute(
        title=html.escape(f"{PAGE_MARK}, {about}"),
        css=read["css"],
        script=read["js"],
        first=html.escape(walk.intro[0]),
        second=html.escape(walk.intro[1]),
        stations=_json(content),
        arrays=arrays.text(),
    )
    return text, content


def _live(walk: VAEWalk | GANWalk) -> dict[str, Any] | None:
    """D as the page's script runs it, and its moments before this step."""
    if isinstance(walk, VAEWalk) or walk.live is None:
        return None
    return {**walk.live.network(), "moments": walk.moments}


def _printable(about: str) -> str:
    """The page is UTF-8, and a folder's name need not be."""
    return about.encode(errors="backslashreplace").decode()


def _read(part: str) -> str:
    return resources.files("minigan.explain.page").joinpath(part).read_text(encoding="utf-8")


def _json(content: Any) -> str:
    """A "<" as an escape: from within a JSON string it cannot end the script element."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
