"""Texts to token ids of one length, by a `tokenizer.json`."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from jaxtransfer.data.encoding import check_text
from jaxtransfer.errors import DataError, nearest


@dataclasses.dataclass(frozen=True)
class Tokenize:
    """Tokenizes texts, cut and padded to one length.

    Truncation and padding stated in the file are replaced by those stated here; special tokens are
    those of the file.

    Attributes:
      file: path of a `tokenizer.json`.
      max_length: number of tokens of each row, special tokens included.
      pad_token: the token that fills short rows.

    Raises:
      DataError: on first use, if the file cannot be read, has no `pad_token`, or `max_length`
        leaves no room for a text.
    """

    file: str | pathlib.Path
    max_length: int
    _: dataclasses.KW_ONLY
    pad_token: str = "[PAD]"

    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """`input_ids` and `attention_mask` (1 on tokens), both (b, max_length) int32."""
        rows = self._cutting.encode_batch(_checked(texts))
        shape = (len(rows), self.max_length)
        return {
            "input_ids": np.array([row.ids for row in rows], np.int32).reshape(shape),
            "attention_mask": np.array([row.attention_mask for row in rows], np.int32).reshape(
                shape
            ),
        }

    def lengths(self, texts: Sequence[str]) -> Int64[np.ndarray, "b"]:
        """Tokens of each text before any cut, special tokens included."""
        rows = self._whole.encode_batch(_checked(texts))
        return np.array([len(row.ids) for row in rows], np.int64)

    def truncated(self, texts: Sequence[str]) -> int:
        """How many of the texts lose tokens to `max_length`."""
        return int((self.lengths(texts) > self.max_length).sum())

    @functools.cached_property
    def pad_id(self) -> int:
        """Number of the padding token."""
        number = self._whole.token_to_id(self.pad_token)
        if number is None:
            special = [token.content for token in self._whole.get_added_tokens_decoder().values()]
            raise DataError(
                f"{self.file} has no token {self.pad_token!r} to pad with; nearest special tokens:"
                f" {nearest(self.pad_token, special)}"
            )
        return number

    @functools.cached_property
    def fingerprint(self) -> str:
        """sha256 of the file's bytes, the length and the padding token."""
        content = hashlib.sha256(pathlib.Path(self.file).read_bytes()).hexdigest()
        return hashlib.sha256(
            repr(("tokenize", content, self.max_length, self.pad_token)).encode()
        ).hexdigest()

    @functools.cached_property
    def _whole(self) -> Any:
        return self._load()

    @functools.cached_property
    def _cutting(self) -> Any:
        special = self._whole.num_special_tokens_to_add(False)
        if self.max_length <= special:
            raise DataError(
                f"max_length {self.max_length} leaves no room for a text beside"
                f" {special} special tokens"
            )
        tokenizer = self._load()
        tokenizer.enable_truncation(self.max_length)
        tokenizer.enable_padding(
            length=self.max_length, pad_id=self.pad_id, pad_token=self.pad_token
        )
        return tokenizer

    def _load(self) -> Any:
        import tokenizers

        path = pathlib.Path(self.file)
        try:
            tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read tokenizer {path}: {error}") from error
        # The library raises plain Exception for whatever it cannot parse.
        except Exception as error:
            raise DataError(f"{path} is not a tokenizer.json: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def __getstate__(self):
        """What travels to a worker process: the fields, not the loaded tokenizers."""
        return {name: getattr(self, name) for name in ("file", "max_length", "pad_token")}

    def __setstate__(self, state):
        self.__dict__.update(state)


def _checked(texts: Sequence[str]) -> list[str]:
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"input {position} is a {type(text).__name__}, not a text")
        check_text(text, f"input {position}")
    return list(texts)
