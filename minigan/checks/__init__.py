"""Proofs: analytic against numeric gradients, and the contract that every layer keeps."""
