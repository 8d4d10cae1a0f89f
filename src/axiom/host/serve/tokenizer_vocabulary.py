"""The vocabulary of a GGUF file: its tokens and what they are for, checked.

Two kinds are known: "spm" (GGUF model `llama`: SentencePiece scores, byte fallback) and "bpe" (GGUF model
`gpt2`: byte-level merges). Source: the tokenizer keys in the GGUF specification (docs/gguf.md).
"""

from dataclasses import dataclass

from axiom.host.errors import UserError
from axiom.host.model.gguf_metadata import Metadata

PREFIX = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
KINDS = {"llama": "spm", "gpt2": "bpe"}
BPE_ADDING_BOS = ("llama-bpe", "llama3", "llama-v3")
# Names under which models end a turn; many files say so in no key.
TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<|eom_id|>", "<end_of_turn>")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, as written in the file, with their types, and the special ids.

    scores: of "spm" only; merges: of "bpe" only. eos_ids: every id that ends an answer.
    """

    kind: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float]
    merges: list[tuple[str, str]]
    bos_id: int | None
    unknown_id: int | None
    eos_ids: tuple[int, ...]
    add_bos: bool
    add_space_prefix: bool

    def ids_of(self, *types: int) -> list[int]:
        """Return the ids of the tokens of these types, with text."""
        return [i for i, (kind, text) in enumerate(zip(self.types, self.tokens, strict=True))
                if kind in types and text]  # fmt: skip


def read_vocabulary(metadata: Metadata) -> Vocabulary:
    """Read and check the tokenizer's keys. Raises UserError naming the key."""
    model = metadata.text(PREFIX + "model")
    kind = KINDS.get(model)
    if kind is None:
        raise UserError(
            f"{metadata.source}: the tokenizer {model} of {PREFIX}model is not supported; "
            f"what works: {', '.join(KINDS)}."
        )
    tokens = metadata.texts(PREFIX + "tokens")
    n_tokens = len(tokens)
    if not n_tokens:
        raise UserError(f"{metadata.source}: {PREFIX}tokens is empty; a model with a vocabulary is needed.")
    has_types = kind == "spm" or PREFIX + "token_type" in metadata
    types = metadata.integers(PREFIX + "token_type") if has_types else [NORMAL] * n_tokens
    _same_length(metadata, "token_type", len(types), n_tokens)
    scores: list[float] = []
    merges: list[tuple[str, str]] = []
    if kind == "spm":
        scores = metadata.numbers(PREFIX + "scores")
        _same_length(metadata, "scores", len(scores), n_tokens)
    else:
        merges = _merges(metadata, set(tokens))
    pre = metadata.text(PREFIX + "pre", "default")
    return Vocabulary(
        kind=kind,
        pre=pre,
        tokens=tokens,
        types=types,
        scores=scores,
        merges=merges,
        bos_id=_id(metadata, "bos_token_id", n_tokens),
        unknown_id=_id(metadata, "unknown_token_id", n_tokens),
        eos_ids=_eos_ids(metadata, tokens, types),
        add_bos=metadata.flag(PREFIX + "add_bos_token", kind == "spm" or pre in BPE_ADDING_BOS),
        add_space_prefix=metadata.flag(PREFIX + "add_space_prefix", kind == "spm"),
    )


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


def _eos_ids(metadata: Metadata, tokens: list[str], types: list[int]) -> tuple[int, ...]:
    keyed = [_id(metadata, key, len(tokens)) for key in ("eos_token_id", "eot_token_id")]
    found = {token_id for token_id in keyed if token_id is not None}
    for token_id, text in enumerate(tokens):
        if text in TURN_ENDS and types[token_id] in (CONTROL, USER_DEFINED):
            found.add(token_id)
    return tuple(sorted(found))


def _merges(metadata: Metadata, known: set[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for merge in metadata.texts(PREFIX + "merges"):
        # A token may itself begin with a space, so the separator is looked for from its second character.
        at = merge.find(" ", 1)
        left, right = merge[:at], merge[at + 1 :]
        if at < 0 or left not in known or right not in known or left + right not in known:
            raise UserError(
                f"{metadata.source}: the merge {merge!r} of {PREFIX}merges does not join tokens of the vocabulary."
            )
        pairs.append((left, right))
    return pairs
