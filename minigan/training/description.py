"""What a run has to know of a game beside its step, in one place for each: a `Description`, in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minigan.games import Game
from minigan.network import Sequential
from minigan.optim import SCHEDULES
from minigan.training.findings import Finding, View
from minigan.training.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Networks = tuple[Sequential, ...]
Columns = Mapping[str, Sequence[float]]
Panel = Callable[["Axes", Columns], None]


@dataclass(frozen=True)
class LogForm:
    """The statistics that a game logs, how they are drawn and how they are judged.

    stats: their columns, by which the form is known; beside: more that some runs have. panels: what draws both into curves.png.
    judge: the findings of a log, the main one first; none where it is too short to tell. titles, in_words: of findings, and
    what helps against them where a run's options are not known, if these are not those of all games.
    shares, diversity: labels of further columns, drawn beside dead units and beside the diversity of samples.
    """

    stats: tuple[str, ...]
    panels: tuple[Panel, ...]
    judge: Callable[[View], list[Finding]]
    beside: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    in_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shares: Mapping[str, str] = field(default_factory=dict)
    shares_title: str = "Dead units"
    diversity: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """A game as `minigan train` knows it.

    about: what it is, for the help. networks: what they are called, in the order in which `build` takes them; sampler: the
    place of the one that makes samples.
    pairs: what builds the networks of each model. models: by kind of data those that make it, the first where none is named.
    recipes: what each model trains with unless told otherwise, by its name, or by kind and name, as "sound mlp", where a kind
    of data has one of its own. usual: by kind of data the recipe by which networks of the user's own learn.
    options: the fields of Settings that not every game has, and this one does.
    build: (networks, configuration, steps of the run) -> the game. check: raises ModelError for networks of a user's file if
    they do not fit the number of classes; its last argument is the place to name.
    logs: the forms that its log may have.
    """

    about: str
    networks: tuple[str, ...]
    sampler: int
    pairs: Mapping[str, Callable[..., Networks]]
    models: Mapping[str, tuple[str, ...]]
    recipes: Mapping[str, dict[str, Any]]
    usual: Mapping[str, str]
    options: tuple[str, ...]
    build: Callable[[Networks, Settings, int], Game]
    logs: tuple[LogForm, ...]
    check: Callable[[Networks, int, str], None] = lambda networks, classes, where: None

    @property
    def sampler_name(self) -> str:
        """As in a sentence: "G" or "the decoder"."""
        name = self.networks[self.sampler]
        return name if len(name) == 1 else f"the {name}"


def adam_of(config: Settings, steps: int) -> dict[str, Any]:
    """The options of Adam that every game has."""
    assert config.lr is not None
    assert config.beta1 is not None
    assert config.beta2 is not None
    return {"lr": SCHEDULES[config.schedule](config.lr, steps), "betas": (config.beta1, config.beta2)}
