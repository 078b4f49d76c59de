"""See it work: one training step opened up as a page, and each layer worked out with a pencil's numbers."""
