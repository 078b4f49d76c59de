"""The twelve exercises, by number."""

from __future__ import annotations

from minigan.exercises.dense_and_norms import BATCH_NORM, DENSE, LAYER_NORM

from minigan.exercises.exercise import Exercise
from minigan.exercises.functions_and_losses import BCE, SIGMOID_AND_TANH, SOFTMAX_CROSS_ENTROPY

EXERCISES: dict[int, Exercise] = {exercise.number: exercise for exercise in (
    DENSE, SIGMOID_AND_TANH, SOFTMAX_CROSS_ENTROPY, BCE, BATCH_NORM, LAYER_NORM
)}
