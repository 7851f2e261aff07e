"""Transfer learning in JAX and Flax: the best adapted model, and the evidence that it is the best."""
