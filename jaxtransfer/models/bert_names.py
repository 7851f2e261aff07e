"""Where the arrays of a Hugging Face BERT checkpoint go in our tree."""

from jaxtransfer.pretrained.names import NameRule, ignore

_PREFIX = r"(?:bert\.)?"
_LAYER = _PREFIX + r"encoder\.layer\.(\d+)\."
# Checkpoints converted from TensorFlow call a norm's leaves gamma and beta.
_SCALE = r"LayerNorm\.(?:weight|gamma)"
_BIAS = r"LayerNorm\.(?:bias|beta)"


def _dense(source: str, target: str) -> tuple[NameRule, NameRule]:
    return (
        NameRule(rf"{_LAYER}{source}\.weight", rf"layer_\1/{target}/kernel", "linear"),
        NameRule(rf"{_LAYER}{source}\.bias", rf"layer_\1/{target}/bias"),
    )


def _norm(source: str, target: str) -> tuple[NameRule, NameRule]:
    return (
        NameRule(rf"{source}{_SCALE}", rf"{target}/scale"),
        NameRule(rf"{source}{_BIAS}", rf"{target}/bias"),
    )


RULES: tuple[NameRule, ...] = (
    NameRule(
        rf"{_PREFIX}embeddings\.(word|position|token_type)_embeddings\.weight",
        r"embeddings/\1/embedding",
    ),
    *_norm(rf"{_PREFIX}embeddings\.", "embeddings/norm"),
    *_dense(r"attention\.self\.query", "attention/query"),
    *_dense(r"attention\.self\.key", "attention/key"),
    *_dense(r"attention\.self\.value", "attention/value"),
    *_dense(r"attention\.output\.dense", "attention/output"),
    *_norm(rf"{_LAYER}attention\.output\.", r"layer_\1/attention/norm"),
    *_dense(r"intermediate\.dense", "mlp/up"),
    *_dense(r"output\.dense", "mlp/down"),
    *_norm(rf"{_LAYER}output\.", r"layer_\1/mlp/norm"),
    ignore(rf"{_PREFIX}embeddings\.position_ids"),
    ignore(rf"{_PREFIX}pooler\..*"),
    ignore(r"cls\..*"),
)
"""The pooler and the language-model heads are left out on purpose: features are pooled hidden
states."""
