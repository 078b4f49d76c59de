"""The twelve exercises, by number."""

from __future__ import annotations

from minigan.exercises.adam import ADAM
from minigan.exercises.convolutions import IM2COL, LOOPS, TRANSPOSED
from minigan.exercises.dense_and_norms import BATCH_NORM, DENSE, LAYER_NORM
from minigan.exercises.exercise import Exercise
from minigan.exercises.functions_and_losses import BCE, SIGMOID_AND_TANH, SOFTMAX_CROSS_ENTROPY
from minigan.exercises.gan_step import GAN_STEP
from minigan.exercises.r1 import R1_PENALTY

EXERCISES: dict[int, Exercise] = {
    exercise.number: exercise
    for exercise in (
        *(DENSE, SIGMOID_AND_TANH, SOFTMAX_CROSS_ENTROPY, BCE, LOOPS, IM2COL, TRANSPOSED, BATCH_NORM, LAYER_NORM),
        *(ADAM, GAN_STEP, R1_PENALTY),
    )
}
