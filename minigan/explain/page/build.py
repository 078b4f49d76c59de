"""Putting a page together: one HTML file with its styles, its script, its stations and its arrays."""

from __future__ import annotations

import html
import json
from importlib import resources
from string import Template
from typing import Any

from minigan.explain.page.arrays import Arrays
from minigan.explain.page.budget import BUDGETS, Budget
from minigan.explain.page.names import name_stations
from minigan.explain.page.walk import Walk
from minigan.explain.page.walk_gan import GANWalk
from minigan.explain.page.walk_vae import VAEWalk
from minigan.explain.step import OpenedStep, OpenedVAE

PAGE_MARK = "minigan: one training step"  # in the title of every page, which tells it from other files
LIMIT = 5 * 10**6  # bytes of a page
PARTS = {  # the page's sources, joined in this order; page.js comes last, for it starts the page
    "html": ("page.html",),
    "css": ("page.css", "print.css"),
    "js": ("share.js", "page.js"),
}


def make_page(step: OpenedStep, about: str, has_data: bool = True) -> str:
    """The page of at most 5 MB. about: what was opened, in one line. has_data: False where the game's own samples
    stand in for real ones.

    Large games are shown in part: fewer samples, then the first channels alone; captions say so.
    """
    about = about.encode(errors="backslashreplace").decode()  # the page is UTF-8, and a folder's name need not be
    for budget in BUDGETS:
        page = _fill(step, about, budget, has_data)
        if len(page.encode()) <= LIMIT:
            break
    return page


def _fill(step: OpenedStep, about: str, budget: Budget, has_data: bool) -> str:
    arrays = Arrays()
    kind: Any = VAEWalk if isinstance(step, OpenedVAE) else GANWalk
    walk: Walk = kind(step, arrays, budget, has_data)
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
        "arrays": arrays.table,
        "sizes": walk.sizes(),
    }
    # "<" cannot end the script element from within a JSON string when it is written as an escape.
    stations = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    here = resources.files("minigan.explain.page")
    read = {name: "\n".join(here.joinpath(part).read_text(encoding="utf-8") for part in parts) for name, parts in PARTS.items()}
    return Template(read["html"]).substitute(
        title=html.escape(f"{PAGE_MARK}, {about}"),
        css=read["css"],
        script=read["js"],
        stations=stations,
        arrays=arrays.text(),
    )
