"""Your own texts in a CSV file: one column of text, one of labels.

    jaxtransfer ladder --config configs/csv_text.py --workdir runs/mine \
        --config.data.path=mine.csv --config.data.text=text --config.data.label=label

Two lines to change: the path, and the names of the columns. Everything else is as in `bbc_minilm.py`.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    bbc = pathlib.Path(__file__).with_name("bbc_minilm.py")
    config = runpy.run_path(str(bbc))["get_config"]()
    config.name = "csv_text"
    config.data = ConfigDict()
    config.data.kind = "csv"
    config.data.path = "data.csv"
    config.data.text = "text"
    config.data.label = "label"
    config.data.encoding = "utf-8"
    config.splits.sizes = ConfigDict({"validation": 100, "calibration": 0, "test": 200})
    return config
