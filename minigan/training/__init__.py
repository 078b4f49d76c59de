"""A run and its folder."""

from minigan.training.run import (
    CHECKPOINT,
    CONFIG,
    CURVES,
    FILM,
    LOG,
    RECIPES,
    SAMPLES,
    STATS,
    Config,
    Run,
    build_game,
    columns_of,
    free_folder,
    load_game,
    read_log,
)

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
