"""Sources, splits, preprocessing and random-access batches: everything between a user's files and a training step."""
