"""The part of a large vocabulary that one text can need.

An encoder of the `tokenizers` library holds its whole vocabulary, and to fill it with 128,000 tokens takes
half a second. But a token can only come up where its text stands in the text to encode, within one of the
words that are encoded each by itself; and a merge, where the token that it makes does. With these tokens
and merges alone, in the same order, the library arrives at the same ids. The words are the library's own:
they are what it makes of the text when there are no merges.
"""

from typing import NamedTuple

from axiom.host.model.vocabulary_index import VocabularyIndex

# Beyond it, filling the encoder with everything is faster.
MAX_CANDIDATES = 60_000
MAX_TEXT_CHARACTERS = 20_000


class Part(NamedTuple):
    """Tokens by text, and merges by the texts of their parts, the most urgent first."""

    ids: dict[str, int]
    merges: list[tuple[str, str]]


def part_for_words(index: VocabularyIndex, ids: dict[str, int], words: set[str]) -> Part | None:
    """Return what encoding these words can need, and the tokens in `ids`; None when that is too much."""
    candidates: set[str] = set()
    for word in words:
        longest = index.longest_text
        for start in range(len(word) - 1):
            stop = min(len(word), start + longest)
            candidates.update([word[start:end] for end in range(start + 2, stop + 1)])
        if len(candidates) > MAX_CANDIDATES:
            return None
    found = dict(ids)
    for text in candidates:
        token_id = index.find(text)
        if token_id is not None:
            found[text] = token_id
    ranked = [
        (rank, text[:at], text[at:])
        for text in candidates & found.keys()
        for at in range(1, len(text))
        if text[:at] in found and text[at:] in found
        if (rank := index.rank(found[text[:at]], found[text[at:]])) is not None
    ]
    ranked.sort()
    return Part(found, [(left, right) for _, left, right in ranked])
