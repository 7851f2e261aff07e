"""Your own images in folders, one folder a class (`path/cat/1.jpg`, `path/dog/2.png`).

    jaxtransfer ladder --config configs/folder_images.py --workdir runs/mine \
        --config.data.path=images/ --config.splits.train_per_class=20

Two lines to change: the path, and how many labelled images of each class may train. Everything else is as in
`digits_efficientnet.py`, at a larger image size.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    digits = pathlib.Path(__file__).with_name("digits_efficientnet.py")
    config = runpy.run_path(str(digits))["get_config"]()
    config.name = "folder_images"
    config.model.options.image_size = 128
    config.data = ConfigDict()
    config.data.kind = "image_folder"
    config.data.path = "images"
    config.splits.sizes = ConfigDict({"validation": 100, "calibration": 0, "test": 200})
    return config
