"""Movie-review snippets without labels: text from another world than the news.

    jaxtransfer examine runs/demo --outliers movies=far:configs/movie_snippets.py

10,605 snippets that come with vaderSentiment 3.3.2, in its archive of rated texts (CC BY-SA 4.0, Hutto and
Gilbert, ICWSM 2014). It has no split or method: it is data that belongs to no class of a ladder.
"""

from ml_collections import ConfigDict


def get_config():
    config = ConfigDict()
    config.data = ConfigDict()
    config.data.kind = "csv"
    config.data.path = (
        "pypi:vaderSentiment==3.3.2/vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    )
    return config
