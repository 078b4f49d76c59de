"""The calculus: each layer is a forward formula, the backward formula derived from it, and nothing else."""

from minigan.layers.base import Layer
from minigan.layers.conv import Conv2d, ConvTranspose2d
from minigan.layers.dense import Dense
from minigan.layers.diff_augment import DiffAugment
from minigan.layers.dropout import Dropout
from minigan.layers.elementwise import Elementwise, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from minigan.layers.linear import Linear
from minigan.layers.minibatch_std import MinibatchStd
from minigan.layers.norm import BatchNorm, LayerNorm
from minigan.layers.phase_shuffle import PhaseShuffle
from minigan.layers.residual import Residual
from minigan.layers.shape import Flatten, Reshape, Upsample
from minigan.layers.softmax import Softmax
from minigan.layers.spectral_norm import SpectralNorm

__all__ = [
    "BatchNorm",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "DiffAugment",
    "Dropout",
    "Elementwise",
    "Flatten",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MinibatchStd",
    "PhaseShuffle",
    "ReLU",
    "Reshape",
    "Residual",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SpectralNorm",
    "Tanh",
    "Upsample",
]
