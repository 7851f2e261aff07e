"""Your own images in folders, one folder a class (`path/cat/1.jpg`, `path/dog/2.png`).

    jaxtransfer ladder --config configs/folder_images.py --workdir runs/mine --config.data.path=images/

The path is all that has to change. Splits are shares, which suit some hundred images; of many, counts are quicker
(`--config.splits.sizes.test=500 --config.splits.train_per_class=20`). Everything else is as in
`digits_efficientnet.py`, which is read from beside this file (copy both), at a larger image size.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    digits = pathlib.Path(__file__).with_name("digits_efficientnet.py")
    config = runpy.run_path(str(digits))["get_config"]()
    config.name = "folder_images"
    config.model.options.image_size = 128
    config.data = ConfigDict({"kind": "image_folder", "path": "images"})
    config.splits = ConfigDict(
        {
            "sizes": {"validation": 0.4, "calibration": 0, "test": 0.25},
            "train_per_class": 0.3,
            "seed": 0,
        }
    )
    return config
