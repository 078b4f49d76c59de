"""Datasets in, batches out.

Images stay uint8, in memory or in a file that is mapped, sounds int16, and of lines of text the letters' numbers are kept; they
become floats when a batch is made. Points stay as they are.
"""

from minigan.data.arrays import as_dataset
from minigan.data.batches import Batches
from minigan.data.dataset import Dataset
from minigan.data.folders import MEMORY_SHARE
from minigan.data.idx import read_idx
from minigan.data.images import FITS
from minigan.data.kinds import Kind, floats_to_pixels, pixels_to_floats
from minigan.data.loading import DATASETS, load, parse_size
from minigan.data.text import as_text

__all__ = [
    "DATASETS",
    "FITS",
    "MEMORY_SHARE",
    "Batches",
    "Dataset",
    "Kind",
    "as_dataset",
    "as_text",
    "floats_to_pixels",
    "load",
    "parse_size",
    "pixels_to_floats",
    "read_idx",
]
