"""Pretrained weights: URI to local file, file to arrays, arrays to our tree by rules and merge."""
