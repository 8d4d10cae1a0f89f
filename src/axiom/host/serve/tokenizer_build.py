"""From a vocabulary to an encoder of the `tokenizers` library.

SentencePiece vocabularies become a BPE model: SentencePiece always joins the neighbours whose union has
the highest score, so every way to split a token into two tokens is a merge, ranked by the token's score.
Pre-tokenizer expressions: as in the models' own tokenizer files, and llama.cpp for `default`.
"""

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from axiom.host.errors import UserError
from axiom.host.serve.tokenizer_vocabulary import (
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Vocabulary,
)

SPACE_MARK = "\u2581"
_LETTERS_AND_SPACES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (_LETTERS_AND_SPACES.replace("DIGITS", "{1,3}"),)
SPLITS: dict[str, tuple[str, ...]] = {
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "gpt-2": (_GPT2 + r"|\s+",),
    "qwen2": (_LETTERS_AND_SPACES.replace("DIGITS", ""),),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
}
WHOLE_WORDS_FIRST = ("llama-bpe", "llama3", "llama-v3")  # a word that is a token needs no merges


def build_encoder(vocabulary: Vocabulary, source: str) -> Tokenizer:
    """Return the encoder of a vocabulary. Raises UserError, naming `source`, when there is no way to."""
    encoder = _spm(vocabulary) if vocabulary.kind == "spm" else _bpe(vocabulary, source)
    added = [
        AddedToken(vocabulary.tokens[i], special=vocabulary.types[i] != USER_DEFINED, normalized=False)
        for i in vocabulary.ids_of(CONTROL, UNKNOWN, USER_DEFINED)
    ]
    encoder.add_tokens(added)
    return encoder


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    return {text: i for i, text in enumerate(vocabulary.tokens)}


def _bpe(vocabulary: Vocabulary, source: str) -> Tokenizer:
    splits = SPLITS.get(vocabulary.pre)
    if splits is None:
        raise UserError(
            f"{source}: the pre-tokenizer {vocabulary.pre} of tokenizer.ggml.pre is not supported; "
            f"what works: {', '.join(SPLITS)}."
        )
    whole_words = vocabulary.pre in WHOLE_WORDS_FIRST
    encoder = Tokenizer(models.BPE(_ids(vocabulary), vocabulary.merges, ignore_merges=whole_words))
    if vocabulary.pre == "qwen2":
        encoder.normalizer = normalizers.NFC()
    steps: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(Regex(split), "isolated") for split in splits
    ]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    encoder.pre_tokenizer = pre_tokenizers.Sequence([*steps, to_bytes])
    return encoder


def _spm(vocabulary: Vocabulary) -> Tokenizer:
    unknown = None if vocabulary.unknown_id is None else vocabulary.tokens[vocabulary.unknown_id]
    encoder = Tokenizer(
        models.BPE(
            _ids(vocabulary),
            merges_by_score(vocabulary),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    marks: list[normalizers.Normalizer] = [normalizers.Replace(" ", SPACE_MARK)]
    if vocabulary.add_space_prefix:
        marks.insert(0, normalizers.Prepend(SPACE_MARK))
    encoder.normalizer = normalizers.Sequence(marks)
    return encoder


def merges_by_score(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Return every pair of tokens whose union is a token, the highest score of the union first."""
    score = {
        text: vocabulary.scores[i]
        for i, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind in (NORMAL, UNUSED, USER_DEFINED)
    }
    ranked = [
        (-joined, len(text), text[:at], text[at:])
        for text, joined in score.items()
        for at in range(1, len(text))
        if text[:at] in score and text[at:] in score
    ]
    ranked.sort(key=lambda merge: merge[:2])
    return [(left, right) for _, _, left, right in ranked]
