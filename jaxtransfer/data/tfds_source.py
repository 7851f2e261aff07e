"""TensorFlow Datasets by random access, without TensorFlow."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxtransfer.data.source import Table
from jaxtransfer.errors import DataError, nearest


def tfds(
    name: str,
    *,
    split: str = "train",
    input: str = "image",
    label: str | None = "label",
    data_dir: str | None = None,
) -> Table:
    """A split of a data set that is already prepared in `data_dir`; inputs are decoded on access.

    Ids are `<name>/<config>/<version>/<split>:<row>`; classes are those the data set declares. One
    pass over the split reads the labels; it decodes the inputs too, since TFDS skips that only with
    TensorFlow.

    Args:
      name: as `tfds.load` takes it, such as 'mnist:3.0.1'.
      split: such as 'train' or 'train[:10%]'.
      input: feature to predict from: an image, or a text (UTF-8).
      label: feature that holds the class; None: no labels.
      data_dir: where the data set was prepared; the TFDS default without it.

    Raises:
      DataError: if `tensorflow-datasets` is not installed, the data set or split is unknown or not
        prepared, or a feature is lacking (naming the nearest).
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise DataError(
            f"reading {name!r} needs tensorflow-datasets: pip install 'jaxtransfer[tfds]' ({error})"
        ) from error
    try:
        builder = tensorflow_datasets.builder(
            name, data_dir=data_dir, file_format="array_record", try_gcs=False
        )
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        near = nearest(name, tensorflow_datasets.list_builders(with_community_datasets=False))
        raise DataError(f"unknown TFDS data set {name!r}; nearest: {near}") from error
    features = builder.info.features
    for feature in (input, label):
        if feature is not None and feature not in features:
            raise DataError(
                f"{name!r} has no feature {feature!r}; nearest: {nearest(feature, features)}"
            )
    if label is not None and not hasattr(features[label], "names"):
        raise DataError(f"feature {label!r} of {name!r} is not a class label: {features[label]}")
    try:
        source = builder.as_data_source(split=split)
    except (AssertionError, KeyError, ValueError, OSError, NotImplementedError) as error:
        raise DataError(
            f"cannot read split {split!r} of {name!r} from {builder.data_dir}: {error}"
        ) from error
    rows = range(len(source))
    return Table(
        ids=np.array([f"{builder.info.full_name}/{split}:{row}" for row in rows]),
        inputs=Features(source, input),
        labels=None if label is None else np.array([source[row][label] for row in rows], np.int64),
        classes=() if label is None else tuple(features[label].names),
    )


class Features(Sequence):
    """One feature of the records of a data source; texts are decoded from UTF-8."""

    def __init__(self, source: Sequence[Any], feature: str):
        self.source, self.feature = source, feature

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index):
        value = self.source[int(index)][self.feature]
        if not isinstance(value, bytes):
            return value
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.feature!r} of record {index} is not UTF-8: {error}") from error
