"""A run and its folder."""

from minigan.training.config import RECIPES, Config
from minigan.training.folder import CHECKPOINT, CONFIG, CURVES, FILM, LOG, SAMPLES, columns_of, free_folder, read_log
from minigan.training.recipes import build_game, load_game
from minigan.training.run import STATS, Run

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "CURVES",
    "FILM",
    "LOG",
    "RECIPES",
    "SAMPLES",
    "STATS",
    "Config",
    "Run",
    "build_game",
    "columns_of",
    "free_folder",
    "load_game",
    "read_log",
]
