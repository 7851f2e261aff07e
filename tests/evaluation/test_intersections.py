"""Columns are crossed where both have groups to compare, and a failure that neither shows is found."""

import numpy as np

from jaxtransfer.evaluation.intersections import by_every_group
from jaxtransfer.evaluation.table import Predictions


def test_a_failure_that_no_column_shows_by_itself_is_the_worst_intersection():
    sex, age = np.meshgrid(["f", "m"], ["old", "young"])
    sex, age = np.repeat(sex.ravel(), 40), np.repeat(age.ravel(), 40)
    labels = np.arange(160) % 2
    # Right for young f and old m, half right for the others: each sex and each age is right alike.
    wrong = ((sex == "f") == (age == "old")) & (np.arange(160) % 4 < 2)
    said = np.where(wrong, 1 - labels, labels)
    lone = np.where(np.arange(160) == 0, "one", "rest")
    table = Predictions(
        ids=np.arange(160).astype(str),
        labels=labels,
        logits=2.0 * np.eye(2)[said],
        classes=("no", "yes"),
        groups={"sex": sex, "age": age, "lone": lone},
    )
    reports = by_every_group(table, ["accuracy"], replicates=50, permutations=20)
    assert list(reports) == ["sex", "age", "lone", "sex & age"]
    for column in ("sex", "age"):
        assert {group.metrics["accuracy"].value for group in reports[column].groups} == {0.75}
    crossed = {group.name: group.metrics["accuracy"].value for group in reports["sex & age"].groups}
    assert crossed == {"f & old": 0.5, "f & young": 1.0, "m & old": 1.0, "m & young": 0.5}
    assert reports["sex & age"].worst[0].group in ("f & old", "m & young")
