"""See it work: layers, losses and optimisers explained, and a training step opened up."""
