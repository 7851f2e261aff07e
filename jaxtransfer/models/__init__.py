"""Networks as values: Linen backbones that run stage by stage, heads, and a zoo by name."""
