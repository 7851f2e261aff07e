"""Analysis before training: what frozen features, stages and data say about a task.

Scores are pure functions of arrays, and say so where these do not define them.
"""
