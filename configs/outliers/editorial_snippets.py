"""Snippets of newspaper editorials without labels, for `examine`: text that belongs to no class of the news.

    jaxtransfer examine runs/demo --outliers editorial=near:configs/outliers/editorial_snippets.py

5,190 rated snippets that come with vaderSentiment 3.3.2 (Hutto and Gilbert, ICWSM 2014). The config names data alone, and
is no ladder's.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.data = ConfigDict()
    config.data.kind = "csv"
    config.data.path = (
        "pypi:vaderSentiment==3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz/hutto_ICWSM_2014/"
        "nytEditorialSnippets_GroundTruth.txt"
    )
    config.data.columns = ("id", "rating", "text")
    config.data.delimiter = "\t"
    config.data.quoted = False
    config.data.id = "id"
    config.data.label = None
    config.data.encoding = "latin-1"
    return config
