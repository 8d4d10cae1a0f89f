"""A vocabulary as tables that need no reading: what is asked for is looked up where it lies.

A vocabulary of 128,000 tokens and 280,000 merges takes half a second to turn into Python objects and a
prompt needs some hundred of them. Tables, all little-endian, one after the other:

    text_ends   u32 per token   where its UTF-8 text ends in `texts`
    merges      2 u32 per merge ids of the left and right part, the most urgent first
    hashes      u32 per token   CRC-32 of its text, ascending
    hash_ids    u32 per token   the id of the token with that hash; equal hashes by ascending id
    pairs       u64 per merge   left id in the upper half, right id in the lower, ascending
    pair_ranks  u32 per merge   the place of that pair among the merges
    types       u8 per token
    texts
"""

import zlib
from typing import Any, Literal

from axiom.host.model.vocabulary import Vocabulary
from axiom.host.model.vocabulary_index import Merges, Texts, VocabularyIndex

SCALARS = ("kind", "pre", "bos_id", "unknown_id", "eos_ids", "add_bos", "add_space_prefix")


def vocabulary_facts(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return as JSON values what the tables do not hold."""
    longest = max(map(len, vocabulary.tokens))
    counts = {"n_tokens": len(vocabulary.tokens), "n_merges": len(vocabulary.merges), "longest": longest}
    return {name: getattr(vocabulary, name) for name in SCALARS} | counts


def vocabulary_tables(vocabulary: Vocabulary) -> bytes:
    """Return the tables."""
    import numpy as np

    encoded = [text.encode() for text in vocabulary.tokens]
    ends = np.cumsum(np.array([len(text) for text in encoded], "<u4"), dtype="<u4")
    hashes = np.array([zlib.crc32(text) for text in encoded], "<u4")
    order = np.argsort(hashes, kind="stable").astype("<u4")
    merges = np.array(vocabulary.merges, "<u4").reshape(-1, 2)
    pairs = merges[:, 0].astype("<u8") << np.uint64(32) | merges[:, 1]
    ranks = np.argsort(pairs, kind="stable").astype("<u4")
    tables = [ends, merges, hashes[order], order, pairs[ranks], ranks]
    return b"".join([*(table.tobytes() for table in tables), bytes(vocabulary.types), *encoded])


def read_vocabulary_tables(facts: dict[str, Any], tables: memoryview) -> Vocabulary:
    """Return the vocabulary that `vocabulary_facts` and `vocabulary_tables` wrote.

    Raises ValueError or KeyError where they are damaged.
    """
    n_tokens, n_merges = facts["n_tokens"], facts["n_merges"]
    at = 0

    def take(count: int, form: Literal["B", "I", "Q"], width: int) -> memoryview:
        nonlocal at
        part = tables[at : at + count * width]
        if len(part) != count * width:
            raise ValueError("the tables are cut off")
        at += count * width
        return part.cast(form)

    ends, merges = take(n_tokens, "I", 4), take(2 * n_merges, "I", 4)
    hashes, hash_ids = take(n_tokens, "I", 4), take(n_tokens, "I", 4)
    pairs, pair_ranks = take(n_merges, "Q", 8), take(n_merges, "I", 4)
    types = bytes(take(n_tokens, "B", 1))
    texts = Texts(ends, take(ends[-1], "B", 1))
    return Vocabulary(
        tokens=texts,
        types=types,
        merges=Merges(merges),
        finder=VocabularyIndex(texts, hashes, hash_ids, pairs, pair_ranks, facts["longest"]),
        kind=facts["kind"],
        pre=facts["pre"],
        bos_id=facts["bos_id"],
        unknown_id=facts["unknown_id"],
        eos_ids=tuple(facts["eos_ids"]),
        add_bos=facts["add_bos"],
        add_space_prefix=facts["add_space_prefix"],
    )
