"""The vocabulary of a model: its tokens and what they are for, read from a GGUF file and checked.

Two kinds are known: "spm" (GGUF model `llama`: SentencePiece scores, byte fallback) and "bpe" (GGUF model
`gpt2`: byte-level merges). Source: the tokenizer keys in the GGUF specification (docs/gguf.md), with
llama.cpp's defaults where a key is absent. What encodes and decodes text with it is axiom.host.serve.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from axiom.host.errors import UserError
from axiom.host.model.gguf_metadata import Metadata
from axiom.host.model.shown import shown
from axiom.host.model.vocabulary_index import VocabularyIndex

PREFIX = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
KINDS = {"llama": "spm", "gpt2": "bpe"}
# Pre-tokenizers of the Llama 3 family: they imply a BOS, and a word that is a token needs no merges.
LLAMA3_PRE = ("llama-bpe", "llama3", "llama-v3")
BPE_PRE = (*LLAMA3_PRE, "gpt-2", "qwen2", "default")
# Names under which models end a turn; many files say so in no key.
TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<|eom_id|>", "<end_of_turn>")


class Vocabulary(NamedTuple):
    """Tokens by id, as written in the file, with their types, and the special ids.

    merges: ids of the left and right part of every merge, the most urgent first.
    eos_ids: every id that ends an answer. add_bos: whether the model expects texts to begin with bos_id.
    finder: finds what is asked for without reading all of it, where the vocabulary comes from tables.
    """

    kind: str
    pre: str
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[tuple[int, int]]
    bos_id: int | None
    unknown_id: int | None
    eos_ids: tuple[int, ...]
    add_bos: bool
    add_space_prefix: bool
    finder: VocabularyIndex | None = None

    def ids_of(self, *types: int) -> list[int]:
        """Return the ids of the tokens of these types, with text."""
        of_types = re.finditer(b"[%s]" % re.escape(bytes(types)), bytes(self.types))
        return [found.start() for found in of_types if self.tokens[found.start()]]


def read_vocabulary(metadata: Metadata) -> Vocabulary:
    """Read and check the tokenizer's keys. Raises UserError naming the key."""
    model = metadata.text(PREFIX + "model")
    kind = KINDS.get(model)
    if kind is None:
        raise UserError(
            f"{metadata.source}: the tokenizer {shown(model)} of {PREFIX}model is not supported; "
            f"what works: {', '.join(KINDS)}."
        )
    tokens = metadata.texts(PREFIX + "tokens")
    if not tokens:
        raise UserError(f"{metadata.source}: {PREFIX}tokens is empty; a model with a vocabulary is needed.")
    pre = metadata.text(PREFIX + "pre", "default")
    if kind == "bpe" and pre not in BPE_PRE:
        raise UserError(
            f"{metadata.source}: the pre-tokenizer {shown(pre)} of {PREFIX}pre is not supported; "
            f"what works: {', '.join(BPE_PRE)}."
        )
    types = _types(metadata, kind, len(tokens))
    ids = {text: token_id for token_id, text in enumerate(tokens)}
    merges = _merges_by_score(metadata, tokens, types) if kind == "spm" else _merges(metadata, ids)
    return Vocabulary(
        kind=kind,
        pre=pre,
        tokens=tokens,
        types=types,
        merges=merges,
        bos_id=_id(metadata, "bos_token_id", len(tokens)),
        unknown_id=_id(metadata, "unknown_token_id", len(tokens)),
        eos_ids=_eos_ids(metadata, ids, types),
        add_bos=metadata.flag(PREFIX + "add_bos_token", kind == "spm" or pre in LLAMA3_PRE),
        add_space_prefix=metadata.flag(PREFIX + "add_space_prefix", kind == "spm"),
    )


def _types(metadata: Metadata, kind: str, n_tokens: int) -> list[int]:
    if kind == "bpe" and PREFIX + "token_type" not in metadata:
        return [NORMAL] * n_tokens
    types = metadata.integers(PREFIX + "token_type")
    _same_length(metadata, "token_type", len(types), n_tokens)
    if unknown := set(types) - set(range(BYTE + 1)):
        raise UserError(
            f"{metadata.source}: {PREFIX}token_type has the value {min(unknown)}; 1 to {BYTE} are known."
        )
    return types


def _same_length(metadata: Metadata, key: str, length: int, n_tokens: int) -> None:
    if length != n_tokens:
        raise UserError(
            f"{metadata.source}: {PREFIX}{key} has {length} elements, and there are {n_tokens} tokens."
        )


def _id(metadata: Metadata, key: str, n_tokens: int) -> int | None:
    if PREFIX + key not in metadata:
        return None
    value = metadata.integer(PREFIX + key)
    if not 0 <= value < n_tokens:
        raise UserError(f"{metadata.source}: {PREFIX}{key} is {value}, and there are {n_tokens} tokens.")
    return value


def _eos_ids(metadata: Metadata, ids: dict[str, int], types: list[int]) -> tuple[int, ...]:
    keyed = [_id(metadata, key, len(types)) for key in ("eos_token_id", "eot_token_id", "eom_token_id")]
    found = {token_id for token_id in keyed if token_id is not None}
    named = [ids[text] for text in TURN_ENDS if text in ids]
    found.update(token_id for token_id in named if types[token_id] in (CONTROL, USER_DEFINED))
    return tuple(sorted(found))


def _merges(metadata: Metadata, ids: dict[str, int]) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for merge in metadata.texts(PREFIX + "merges"):
        # A token may itself begin with a space, so the separator is looked for from its second character.
        at = merge.find(" ", 1)
        left, right = merge[:at], merge[at + 1 :]
        if at < 0 or left not in ids or right not in ids or left + right not in ids:
            raise UserError(
                f"{metadata.source}: the merge {shown(merge)} of {PREFIX}merges does not join two tokens "
                "into a token; convert the model again."
            )
        pairs.append((ids[left], ids[right]))
    return pairs


def _merges_by_score(metadata: Metadata, tokens: list[str], types: list[int]) -> list[tuple[int, int]]:
    """Return every pair of tokens whose union is a token, the highest score of the union first.

    SentencePiece always joins the neighbours whose union has the highest score, so every way to split a
    token into two tokens is a merge, ranked by the token's score. Of equal scores it joins the leftmost,
    which matters for runs of spaces: they all score the same, and a run grows from its left end. Ranking
    the longer union first has the same effect.
    """
    scores = metadata.numbers(PREFIX + "scores")
    _same_length(metadata, "scores", len(scores), len(tokens))
    typed = enumerate(zip(tokens, types, strict=True))
    ids = {text: i for i, (text, kind) in typed if kind in (NORMAL, UNUSED, USER_DEFINED)}
    ranked = [
        (-scores[token_id], -len(text), ids[text[:at]], ids[text[at:]])
        for text, token_id in ids.items()
        for at in range(1, len(text))
        if text[:at] in ids and text[at:] in ids
    ]
    ranked.sort(key=lambda merge: merge[:2])
    return [(left, right) for _, _, left, right in ranked]
