"""Pretrained weights: URI to local file, file to flat arrays, flat arrays to our tree by rules, strict merge."""
