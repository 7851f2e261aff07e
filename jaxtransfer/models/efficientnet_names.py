"""Where the arrays of an `efficientnet_lite_pytorch` checkpoint go in our tree."""

from jaxtransfer.pretrained.names import NameRule, ignore

_BLOCK = r"_blocks\.(\d+)\."


def _conv(source: str, target: str, transform: str = "conv") -> NameRule:
    return NameRule(rf"{source}\.weight", f"{target}/conv/kernel", transform)


def _norm(source: str, target: str) -> tuple[NameRule, ...]:
    return (
        NameRule(rf"{source}\.weight", f"{target}/norm/scale"),
        NameRule(rf"{source}\.bias", f"{target}/norm/bias"),
        NameRule(rf"{source}\.running_mean", f"batch_stats/{target}/norm/mean"),
        NameRule(rf"{source}\.running_var", f"batch_stats/{target}/norm/var"),
        ignore(rf"{source}\.num_batches_tracked"),
    )


ENCODER: tuple[NameRule, ...] = (
    _conv("_conv_stem", "stem"),
    *_norm("_bn0", "stem"),
    _conv(rf"{_BLOCK}_expand_conv", r"block_\1/expand"),
    *_norm(rf"{_BLOCK}_bn0", r"block_\1/expand"),
    _conv(rf"{_BLOCK}_depthwise_conv", r"block_\1/depthwise", "depthwise"),
    *_norm(rf"{_BLOCK}_bn1", r"block_\1/depthwise"),
    _conv(rf"{_BLOCK}_project_conv", r"block_\1/project"),
    *_norm(rf"{_BLOCK}_bn2", r"block_\1/project"),
    _conv("_conv_head", "top"),
    *_norm("_bn1", "top"),
)

RULES: tuple[NameRule, ...] = (*ENCODER, ignore(r"_fc\.(weight|bias)"))
"""Without the ImageNet classifier."""

CLASSIFIER_RULES: tuple[NameRule, ...] = (
    *ENCODER,
    NameRule(r"_fc\.weight", "head/kernel", "linear"),
    NameRule(r"_fc\.bias", "head/bias"),
)
"""With it; the encoder's paths still lack their `encoder/`."""
