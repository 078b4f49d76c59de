"""Datasets in, batches out.

Images stay uint8 in memory and become floats in [−1, 1] when a batch is made; points stay as they are; of lines of text the
letters' numbers are kept, and become ones and zeros.
"""

from minigan.data.arrays import as_dataset
from minigan.data.batches import Batches
from minigan.data.dataset import Dataset
from minigan.data.idx import read_idx
from minigan.data.kinds import Kind, floats_to_pixels, pixels_to_floats
from minigan.data.loading import DATASETS, load, parse_size
from minigan.data.text import as_text

__all__ = [
    "DATASETS",
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
