"""Your own texts and their labels, in a CSV file with the columns `text` and `label`.

    jaxtransfer ladder --config configs/csv_text.py --workdir runs/mine --config.data.path=mine.csv

The path is all that has to change. `--config.data.text=body` and `--config.data.label=topic` name other columns,
`--config.data.encoding=latin-1` another encoding; `--config.data.kind=` jsonl, parquet or text_folder reads those.
Splits are shares, which suit some hundred rows; of a large file, counts are quicker
(`--config.splits.sizes.test=500 --config.splits.train_per_class=50`). Everything else is as in `bbc_minilm.py`, which is
read from beside this file: copy both.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    bbc = pathlib.Path(__file__).with_name("bbc_minilm.py")
    config = runpy.run_path(str(bbc))["get_config"]()
    config.name = "csv_text"
    # Options that a loader has by itself are not repeated here, so that another kind can be chosen.
    config.data = ConfigDict({"kind": "csv", "path": "data.csv"})
    config.splits = ConfigDict(
        {
            "sizes": {"validation": 0.4, "calibration": 0, "test": 0.25},
            "train_per_class": 0.3,
            "seed": 0,
        }
    )
    return config
