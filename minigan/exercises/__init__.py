"""Exercises: a file with blanks is written, filled in by the reader, and checked, with the mistakes named."""

from minigan.exercises.blanks import blank

__all__ = ["blank"]
