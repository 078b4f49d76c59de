"""The table of games: a new one is a file with its description, and a line here."""

from __future__ import annotations

from collections.abc import Collection

from minigan.training import gan, vae
from minigan.training.description import Description, LogForm

GAMES: dict[str, Description] = {"gan": gan.GAME, "vae": vae.GAME}


def form_of(columns: Collection[str]) -> LogForm:
    """The form of a log with these columns: that which is there in full, else the one of which most is there, if over half."""
    forms = [form for game in GAMES.values() for form in game.logs]

    def found(form: LogForm) -> tuple[float, int]:
        there = sum(name in columns for name in form.stats)
        return there / len(form.stats), there

    best = max(forms, key=found)
    return best if found(best)[0] > 0.5 else forms[0]


def games_with(option: str) -> tuple[str, ...]:
    """The games that have an option, where not all have it; else none."""
    return tuple(name for name, game in GAMES.items() if option in game.options)


def model_names() -> tuple[str, ...]:
    """Of all games."""
    return tuple(dict.fromkeys(name for game in GAMES.values() for name in game.pairs))
