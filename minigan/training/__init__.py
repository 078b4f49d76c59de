"""A run and its folder."""

from minigan.training.build import build_game, config_of_checkpoint, errors_of_user_file, load_game
from minigan.training.config import OPTIONS, RECIPES, Config, recipe_of
from minigan.training.folder import (
    ANIMATION,
    CHECKPOINT,
    CONFIG,
    CURVES,
    LOG,
    SAMPLES,
    default_run_dir,
    made_from_python,
    refuse_python_run,
)
from minigan.training.from_config import config_from, resume_run, start_run
from minigan.training.log import columns_of, read_log, read_settings
from minigan.training.run import Run, train

__all__ = [
    "ANIMATION",
    "CHECKPOINT",
    "CONFIG",
    "CURVES",
    "LOG",
    "OPTIONS",
    "RECIPES",
    "SAMPLES",
    "Config",
    "Run",
    "build_game",
    "columns_of",
    "config_from",
    "config_of_checkpoint",
    "default_run_dir",
    "errors_of_user_file",
    "load_game",
    "made_from_python",
    "read_log",
    "read_settings",
    "recipe_of",
    "refuse_python_run",
    "resume_run",
    "start_run",
    "train",
]
