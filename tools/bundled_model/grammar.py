"""A small template language for stories.

`[a|b|c]` is a choice (it nests, and an alternative may be empty), `{slot}` is a value of the story's
cast, `{Slot}` is the same with a capital letter. Articles and capitals are put right at the end, so that
templates need not care which word follows "a". Nothing here knows any story; read `stories` for those.
"""

import re
from collections.abc import Mapping
from random import Random

CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")
ARTICLE = re.compile(r"\b([Aa])n? (?=([A-Za-z]+))")
SENTENCE_START = re.compile(r'(^|[.!?] |\." )("?)([a-z])')
SAID = re.compile(r'\." (?=(?:(?:he|she) )?(?:said|asked|whispered|cried|called)\b)')
SPACES = re.compile(r" {2,}")

# Words whose first letter misleads about their first sound.
VOWEL_LETTER_CONSONANT_SOUND = ("uni", "use", "usu", "one", "once", "eu", "ukulele")
CONSONANT_LETTER_VOWEL_SOUND = ("hour", "honest", "honour", "heir")


def wants_an(word: str) -> bool:
    """Say whether "an", not "a", stands before this word."""
    lower = word.lower()
    if lower.startswith(CONSONANT_LETTER_VOWEL_SOUND):
        return True
    return lower[0] in "aeiou" and not lower.startswith(VOWEL_LETTER_CONSONANT_SOUND)


def capitalised(text: str) -> str:
    """Return the text with its first letter in upper case and the rest as it was."""
    return text[:1].upper() + text[1:]


def expand(template: str, slots: Mapping[str, str], rng: Random) -> str:
    """Fill a template's choices and slots, until neither is left.

    A slot's value may itself hold choices and slots. Raises KeyError for a slot nobody has filled.
    """

    def choose(match: re.Match[str]) -> str:
        return rng.choice(match[1].split("|"))

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name in slots:
            return slots[name]
        if name[0].isupper():
            return capitalised(slots[name[0].lower() + name[1:]])
        raise KeyError(f"no slot {name} for the template: {template}")

    text = template
    while True:
        before = text
        text = CHOICE.sub(choose, text)
        text = SLOT.sub(fill, text)
        if text == before:
            return text


def tidy(text: str) -> str:
    """Put spaces, articles, the capitals of sentences and the commas of dialogue right."""

    def agree(match: re.Match[str]) -> str:
        return f"{match[1]}{'n' if wants_an(match[2]) else ''} "

    def begin(match: re.Match[str]) -> str:
        return match[1] + match[2] + match[3].upper()

    text = SAID.sub('," ', SPACES.sub(" ", text).strip())
    return SENTENCE_START.sub(begin, ARTICLE.sub(agree, text))
