"""Writes a config for a user's data: commented, with splits, criterion and rungs, and checked before it stands."""

import pathlib
import shlex
import string
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jaxtransfer.data.duplicates import deduplicate
from jaxtransfer.data.source import Table
from jaxtransfer.errors import ConfigError, DataError
from jaxtransfer.protocol import config_file, settings
from jaxtransfer.protocol.config_text import in_docstring, literal
from jaxtransfer.protocol.problem import check_classes, check_left, draw, task_of
from jaxtransfer.protocol.seen_data import Seen

KINDS: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "text": (
        "Your own texts",
        {"kind": "text_folder", "path": "texts"},
        "one folder a class (`texts/sport/1.txt`)",
    ),
    "images": (
        "Your own images",
        {"kind": "image_folder", "path": "images"},
        "one folder a class (`images/cat/1.jpg`)",
    ),
    "table": (
        "Your own texts and their labels in a table",
        {"kind": "csv", "path": "data.csv"},
        "a CSV file with the columns `text` and `label`",
    ),
}
"""Kind to what its config is for, the data it names where none were looked at, and their form."""
WIDTH = 99
LENGTHS = (32, 64, 128, 256)
SIDES = (64, 96, 128, 160, 192, 224)
FEW = 1000
"""Examples up to which splits are shares of all there are."""
LARGEST_PART = 0.9
"""Part of the examples that counts may take; duplicates, which go first, are not counted yet."""
SHARES: Mapping[str, Any] = {
    "sizes": {"validation": 0.4, "calibration": 0, "test": 0.25},
    "train_per_class": 0.3,
    "seed": 0,
}


def render(kind: str, name: str, out: pathlib.Path, seen: Seen | None = None) -> str:
    """The text of a config.

    Args:
      kind: of `KINDS`.
      name: of the config, by which folders are named.
      out: where it will stand, for its docstring.
      seen: the data; their usual form if left out.

    Raises:
      ConfigError: if the name cannot be a folder's.
    """
    settings.check_name("config.name", name)
    what, data, form = KINDS[kind]
    override, hint = f" --config.data.path={data['path']}", _hint(form, kind)
    facts: Sequence[str] = ()
    splits, length, side = SHARES, 64, 128
    if seen is not None:
        data, facts, override = seen.data, seen.facts, ""
        hint = "The path is relative to where the command runs."
        splits = _sizes(seen.table)
        if seen.of == "text":
            # A word is a token or two.
            length = next((n for n in LENGTHS if n >= 1.3 * seen.size), LENGTHS[-1])
        else:
            side = max((n for n in SIDES if n <= seen.size), default=SIDES[0])
    of = seen.of if seen is not None else ("images" if kind == "images" else "text")
    if of == "images" and kind == "table":
        what = "Your own images, each a row of pixels in a table"
    template = resources.files("jaxtransfer.protocol") / "templates" / f"{of}.py.txt"
    about = f"`--dry-run` counts beforehand what that costs. {hint}"
    text = string.Template(template.read_text(encoding="utf-8")).substitute(
        what=what,
        name=name,
        out=in_docstring(shlex.quote(out.as_posix())),
        override=override,
        about=textwrap.fill(about, WIDTH, break_long_words=False, break_on_hyphens=False),
        max_length=length,
        image_size=side,
        data=_section("data", data, [_said(fact) for fact in facts]),
        splits=_section("splits", splits, _about_splits(splits)),
    )
    check(text)
    return text


def write(text: str, out: pathlib.Path) -> pathlib.Path:
    """Writes a config where nothing stands; raises as `check_free`."""
    check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        check_free(out)
        raise
    return out


def check_free(out: pathlib.Path) -> None:
    """Raises a ConfigError if something stands where a config is to be written."""
    if out.exists():
        raise ConfigError(f"{out} exists; give another --out, or remove it")


def check(text: str) -> settings.LadderSettings:
    """The settings that a config's text gives; errors as of `settings.from_config`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "config.py"
        path.write_text(text, encoding="utf-8")
        return settings.from_config(config_file.read(str(path)))


def doubts(seen: Seen, config: settings.LadderSettings) -> list[str]:
    """Duplicates that a ladder would remove, classes that may be one, and why it would refuse the data if it would."""
    table, duplicates = deduplicate(seen.table)
    found = [duplicates.summary()] if duplicates.removed else []
    spelt: dict[str, list[str]] = {}
    for name in table.classes:
        spelt.setdefault(" ".join(name.split()).casefold(), []).append(name)
    found += [
        f"classes that differ in spaces or capitals alone, and count as {len(names)}: {', '.join(map(repr, names))}"
        for names in spelt.values()
        if len(names) > 1
    ]
    try:
        check_left(seen.table, table, duplicates)
        task_of(config, table.classes)
        check_classes(table, draw(table, config.splits))
    except (ConfigError, DataError) as error:
        found.append(f"the ladder would refuse this: {error}")
    return found


def _sizes(table: Table) -> Mapping[str, Any]:
    """Shares of a few hundred examples; of many, counts, which are quicker."""
    if len(table) <= FEW:
        return SHARES
    smallest = min(table.counts().values())
    train: int | float = min(50, int(0.3 * smallest))
    if train < 10:
        train = round(min(0.3, 500 / len(table)), 4)
    sizes = {"validation": 400, "calibration": 200, "test": min(1000, len(table) // 4)}
    trained = train * len(table) if train < 1 else train * len(table.counts())
    if sum(sizes.values()) + trained > LARGEST_PART * len(table):
        return SHARES
    return {"sizes": sizes, "train_per_class": train, "seed": 0}


def _about_splits(splits: Mapping[str, Any]) -> list[str]:
    if splits is SHARES:
        return [
            "Shares of all examples, stratified by class; of many, counts are quicker. One half of"
            " validation tunes, the other decides; test is read once, at the end."
        ]
    return [
        "Counts, stratified by class; train_per_class is how many labels of each class are learned"
        " from (a share, if below 1). One half of validation tunes, the other decides; test is read"
        " once, at the end."
    ]


def _hint(form: str, kind: str) -> str:
    common = (
        f"The data are {form}; the path is all that has to change, on the command line or below."
        " Splits are shares, which suit some hundred examples; of many, counts are quicker"
        " (`--config.splits.sizes.test=500 --config.splits.train_per_class=50`)."
    )
    if kind == "images":
        return common
    return (
        f"{common} `--config.data.kind=` csv, jsonl, parquet or text_folder reads those; of a table,"
        " `--config.data.text=body --config.data.label=topic` name other columns, and"
        " `--config.data.encoding=latin-1` another encoding."
    )


def _said(fact: str) -> str:
    return f"Seen: {fact}."


def _section(name: str, values: Mapping[str, Any], comments: Sequence[str]) -> str:
    """Lines of a config that set one section, under its comments."""
    lines = [
        line
        for comment in comments
        for line in textwrap.wrap(
            comment,
            WIDTH,
            initial_indent="    # ",
            subsequent_indent="    # ",
            break_long_words=False,
        )
    ]
    whole = f"    config.{name} = ConfigDict({literal(values)})"
    if len(whole) > WIDTH:
        items = "".join(f"            {literal(k)}: {literal(v)},\n" for k, v in values.items())
        whole = f"    config.{name} = ConfigDict(\n        {{\n{items}        }}\n    )"
    return "\n".join([*lines, whole])
