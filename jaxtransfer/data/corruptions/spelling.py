"""Errors of writing: substitution, deletion, swaps, neighbouring keys, optical recognition, case, spaces.

Each unit of a text (a letter, a pair, a word) is changed with the same probability, by a number of
its own that does not depend on it, so a severer corruption keeps what a lesser one has changed.
"""

import re
import string
import unicodedata

from jaxtransfer.data.corruptions.keys import Chance
from jaxtransfer.data.corruptions.kinds import TextCorruption

Changed = tuple[str, int, int]
"""The corrupted text, how many units were changed, and how many there were."""

KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

LOOKALIKES: dict[str, tuple[str, ...]] = {
    "0": ("O", "o"),
    "1": ("l", "I"),
    "2": ("Z",),
    "5": ("S",),
    "6": ("b", "G"),
    "8": ("B",),
    "9": ("g", "q"),
    "B": ("8",),
    "D": ("O", "0"),
    "G": ("6", "C"),
    "I": ("l", "1"),
    "O": ("0", "D"),
    "S": ("5",),
    "Z": ("2",),
    "b": ("6", "h"),
    "c": ("e", "o"),
    "d": ("cl",),
    "e": ("c", "o"),
    "f": ("t",),
    "g": ("9", "q"),
    "h": ("b", "n"),
    "i": ("l", "1", "j"),
    "j": ("i",),
    "l": ("1", "I", "i"),
    "m": ("rn", "nn"),
    "n": ("ri", "h"),
    "o": ("0", "c"),
    "q": ("g", "9"),
    "r": ("n",),
    "s": ("5",),
    "t": ("f", "l"),
    "u": ("v", "ii"),
    "v": ("u", "y"),
    "w": ("vv",),
    "y": ("v",),
    "z": ("2",),
}
"""What optical recognition takes a character for."""


def characters(text: str) -> list[str]:
    """The characters as one reads them: a base with the marks and joiners that follow it.

    >>> [len(character) for character in characters("e\\u0301a")]
    [2, 1]
    """
    found: list[str] = []
    joined = False
    for point in text:
        follows = unicodedata.category(point)[0] == "M" or point == "\u200d" or joined
        if found and follows:
            found[-1] += point
        else:
            found.append(point)
        joined = point == "\u200d"
    return found


def neighbouring_keys() -> dict[str, str]:
    """Of each letter, the letters whose keys touch its own on a QWERTY keyboard.

    >>> neighbouring_keys()["q"], neighbouring_keys()["g"]
    ('aw', 'bfhtvy')
    """
    # Rows are shifted by a quarter and three quarters of a key; touching keys are within 1.3.
    shift = (0.0, 0.25, 0.75)
    places = {
        letter: (column + shift[row], float(row))
        for row, letters in enumerate(KEYBOARD)
        for column, letter in enumerate(letters)
    }
    return {
        letter: "".join(
            sorted(
                other
                for other, (a, b) in places.items()
                if other != letter and (a - x) ** 2 + (b - y) ** 2 <= 1.3**2
            )
        )
        for letter, (x, y) in places.items()
    }


NEIGHBOURS = neighbouring_keys()


def substitution(text: str, probability: float, chance: Chance) -> Changed:
    """Replaces letters by others of the same case.

    ASCII letters become other ones. Any other letter becomes one of its script that is in the same
    text too, or an ASCII one if there is none.
    """
    units = characters(text)
    places = [i for i, unit in enumerate(units) if unit[0].isalpha()]
    foreign = sorted({u.lower() for u in units if u[0].isalpha() and not u.isascii()})

    def other(unit: str, draw: float) -> str:
        lower = unit.lower()
        pool = [letter for letter in string.ascii_lowercase if letter != lower]
        if not unit.isascii():
            alike = [u for u in foreign if u != lower and _script(u) == _script(lower)]
            pool = alike or pool
        return _cased(pool[int(draw * len(pool))], unit)

    return _replace(units, places, other, probability, chance)


def deletion(text: str, probability: float, chance: Chance) -> Changed:
    """Leaves out letters and digits."""
    units = characters(text)
    places = [i for i, unit in enumerate(units) if unit[0].isalnum()]
    return _replace(units, places, lambda unit, draw: "", probability, chance)


def keyboard(text: str, probability: float, chance: Chance) -> Changed:
    """Replaces ASCII letters by one whose key touches theirs on a QWERTY keyboard, of the same case."""
    units = characters(text)
    places = [i for i, unit in enumerate(units) if unit.lower() in NEIGHBOURS]

    def other(unit: str, draw: float) -> str:
        pool = NEIGHBOURS[unit.lower()]
        return _cased(pool[int(draw * len(pool))], unit)

    return _replace(units, places, other, probability, chance)


def ocr(text: str, probability: float, chance: Chance) -> Changed:
    """Replaces letters and digits by what optical recognition takes them for (`LOOKALIKES`)."""
    units = characters(text)
    places = [i for i, unit in enumerate(units) if unit in LOOKALIKES]

    def other(unit: str, draw: float) -> str:
        pool = LOOKALIKES[unit]
        return pool[int(draw * len(pool))]

    return _replace(units, places, other, probability, chance)


def swap(text: str, probability: float, chance: Chance) -> Changed:
    """Swaps neighbouring letters of a word.

    Words are cut into pairs, from their first or second letter on; pairs of equal letters do not
    count.
    """
    units = characters(text)
    words: list[list[int]] = []
    for i, unit in enumerate(units):
        if not unit[0].isalpha():
            continue
        if words and words[-1][-1] == i - 1:
            words[-1].append(i)
        else:
            words.append([i])
    pairs: list[int] = []
    for word, draw in zip(words, chance.uniform(len(words))):
        start = 1 if draw < 0.5 and len(word) > 2 else 0
        pairs += [i for i in word[start:-1:2] if units[i] != units[i + 1]]
    swapped = [i for i, draw in zip(pairs, chance.uniform(len(pairs))) if draw < probability]
    for i in swapped:
        units[i], units[i + 1] = units[i + 1], units[i]
    return "".join(units), len(swapped), len(pairs)


def casing(text: str, probability: float, chance: Chance) -> Changed:
    """Writes words in lower case, in upper case or with their cases swapped, never as they were."""
    pieces = re.split(r"(\s+)", text)
    places = [i for i, piece in enumerate(pieces) if _variants(piece)]

    def other(word: str, draw: float) -> str:
        variants = _variants(word)
        return variants[int(draw * len(variants))]

    return _replace(pieces, places, other, probability, chance)


def whitespace(text: str, probability: float, chance: Chance) -> Changed:
    """Removes white space between words, and puts a space into words of two characters or more."""
    pieces = re.split(r"(\s+)", text)
    inner = range(1, len(pieces) - 1)
    gaps = [i for i in inner if pieces[i].isspace() and pieces[i - 1] and pieces[i + 1]]
    words = [i for i, p in enumerate(pieces) if not p.isspace() and len(characters(p)) > 1]

    def other(piece: str, draw: float) -> str:
        if piece.isspace():
            return ""
        units = characters(piece)
        cut = 1 + int(draw * (len(units) - 1))
        return "".join([*units[:cut], " ", *units[cut:]])

    return _replace(pieces, sorted([*gaps, *words]), other, probability, chance)


def _replace(pieces: list[str], places: list[int], other, probability, chance) -> Changed:
    """Replaces each of the pieces at the places with the given probability."""
    hits = chance.uniform(len(places)) < probability
    draws = chance.uniform(len(places))
    for place, hit, draw in zip(places, hits.tolist(), draws.tolist()):
        if hit:
            pieces[place] = other(pieces[place], draw)
    return "".join(pieces), int(hits.sum()), len(places)


def _script(letter: str) -> str:
    """The first word of a character's name, such as LATIN or CJK."""
    return unicodedata.name(letter[0], "").split(" ")[0]


def _cased(letter: str, like: str) -> str:
    upper = letter.upper()
    return upper if like[0].isupper() and len(upper) == len(letter) else letter


def _variants(word: str) -> list[str]:
    return sorted({word.lower(), word.upper(), word.swapcase()} - {word})


LETTERS = (0.02, 0.05, 0.1, 0.15, 0.2)
WORDS = (0.1, 0.2, 0.4, 0.6, 0.8)

SPELLING = (
    TextCorruption(
        name="substitution",
        text="letters replaced by random ones of the same case",
        unit="share of letters",
        values=LETTERS,
        change=substitution,
    ),
    TextCorruption(
        name="deletion",
        text="letters and digits left out",
        unit="share of letters and digits",
        values=LETTERS,
        change=deletion,
    ),
    TextCorruption(
        name="swap",
        text="neighbouring letters of a word swapped",
        unit="share of disjoint pairs of different letters",
        values=LETTERS,
        change=swap,
    ),
    TextCorruption(
        name="keyboard",
        text="letters replaced by those of neighbouring QWERTY keys",
        unit="share of ASCII letters",
        values=LETTERS,
        change=keyboard,
    ),
    TextCorruption(
        name="ocr",
        text="characters replaced by what optical recognition takes them for",
        unit="share of characters that have a lookalike",
        values=LETTERS,
        change=ocr,
    ),
    TextCorruption(
        name="casing",
        text="words in lower case, upper case or swapped case",
        unit="share of words with letters that have case",
        values=WORDS,
        change=casing,
    ),
    TextCorruption(
        name="whitespace",
        text="white space between words removed, a space put into words",
        unit="share of gaps, and of words of two characters or more",
        values=(0.05, 0.1, 0.2, 0.3, 0.4),
        change=whitespace,
    ),
)
