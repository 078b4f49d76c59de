"""A run and its folder."""

from minigan.training.config import OPTIONS, RECIPES, Config, recipe_of
from minigan.training.folder import CHECKPOINT, CONFIG, CURVES, FILM, LOG, SAMPLES, columns_of, free_folder, read_log
from minigan.training.recipes import build_game, load_game
from minigan.training.run import STATS, Run

__all__ = [
    "CHECKPOINT",
    "CONFIG",
    "CURVES",
    "FILM",
    "LOG",
    "OPTIONS",
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
    "recipe_of",
]
