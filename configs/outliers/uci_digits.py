"""UCI digits, 8 x 8: handwritten digits from elsewhere, for `examine`: near what MNIST is.

    jaxtransfer examine runs/digits --outliers uci=near:configs/outliers/uci_digits.py

1,797 images that come with scikit-learn. The config names data alone, and is no ladder's.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.data = ConfigDict()
    config.data.kind = "pixel_csv"
    config.data.path = (
        "pypi:scikit-learn==1.5.2/sklearn/datasets/data/digits.csv.gz"
        "#sha256=b4237ed7b3fdd0a4882792e68ef2545d5baa50aca3bb45aa7df468138ad8f94d"
    )
    config.data.shape = (8, 8)
    config.data.white = 16
    return config
