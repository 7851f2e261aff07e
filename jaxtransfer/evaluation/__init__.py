"""Evaluation: every metric, interval and comparison is a pure function of predictions tables.

NumPy in float64 alone, so a table of any model, ours or a foreign one, is judged by the same
definitions.
"""
