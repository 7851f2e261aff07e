"""Training: one pure step, one loop under a mesh, checkpoints and cached activations."""
