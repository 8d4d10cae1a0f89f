"""From a vocabulary to an encoder of the `tokenizers` library.

Pre-tokenizer expressions: as in the models' own tokenizer files, and llama.cpp for `default`.
"""

from typing import Protocol, cast

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from axiom.host.errors import UserError
from axiom.host.model.vocabulary import CONTROL, LLAMA3_PRE, UNKNOWN, USER_DEFINED, Vocabulary
from axiom.host.model.vocabulary_index import VocabularyIndex
from axiom.host.serve.tokenizer_part import part_for_words
from axiom.host.serve.tokenizer_pieces import SPACE_MARK

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
SPLITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LLAMA3_PRE, (_WORDS.replace("DIGITS", "{1,3}"),)),
    "gpt-2": (_GPT2 + r"|\s+",),
    "qwen2": (_WORDS.replace("DIGITS", ""),),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"),
}


class _TakesTokens(Protocol):
    """The part of `tokenizers.Tokenizer` whose stub lacks its element type."""

    def add_tokens(self, tokens: list[AddedToken]) -> int: ...


def build_encoder(vocabulary: Vocabulary) -> Tokenizer:
    """Return the encoder of a vocabulary.

    It adds no special tokens by itself. Raises UserError when the vocabulary cannot write every byte.
    """
    if vocabulary.kind == "spm":
        return _with_added(_spm(vocabulary), vocabulary)
    whole_words = vocabulary.pre in LLAMA3_PRE
    return _bpe(vocabulary, models.BPE(_ids(vocabulary), _merges(vocabulary), ignore_merges=whole_words))


class PartEncoders:
    """Encoders of byte-level vocabularies with an index, each of the part that one text needs."""

    def __init__(self, vocabulary: Vocabulary, index: VocabularyIndex) -> None:
        marks = pre_tokenizers.ByteLevel.alphabet()
        added = vocabulary.ids_of(CONTROL, UNKNOWN, USER_DEFINED)
        found = {mark: index.find(mark) for mark in marks}
        self._marks = {mark: token_id for mark, token_id in found.items() if token_id is not None}
        self._added = {vocabulary.tokens[i]: i for i in added}
        self._vocabulary, self._index = vocabulary, index
        self._divider = _bpe(vocabulary, models.BPE(self._marks | self._added, []))

    def encoder(self, text: str, parse_special: bool) -> Tokenizer | None:
        """Return an encoder that gives this text its ids; None when it would need too much."""
        part = part_for_words(self._index, self._marks | self._added, self._words(text, parse_special))
        if part is None:
            return None
        whole_words = self._vocabulary.pre in LLAMA3_PRE
        return _bpe(self._vocabulary, models.BPE(part.ids, part.merges, ignore_merges=whole_words))

    def _words(self, text: str, parse_special: bool) -> set[str]:
        """Return the stretches of a text that are encoded each by itself, or a few of them as one."""
        self._divider.encode_special_tokens = not parse_special
        divided = self._divider.encode(text, add_special_tokens=False)
        words: set[str] = set()
        word, number = "", None
        for mark, belongs_to in zip(divided.tokens, divided.word_ids, strict=True):
            if mark in self._added or belongs_to != number:
                words.add(word)
                word, number = "", belongs_to
            if mark not in self._added:
                word += mark
        return words | {word}


def _with_added(encoder: Tokenizer, vocabulary: Vocabulary) -> Tokenizer:
    added = [
        AddedToken(vocabulary.tokens[i], special=vocabulary.types[i] != USER_DEFINED, normalized=False)
        for i in vocabulary.ids_of(CONTROL, UNKNOWN, USER_DEFINED)
    ]
    cast(_TakesTokens, encoder).add_tokens(added)
    return encoder


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    return {text: token_id for token_id, text in enumerate(vocabulary.tokens)}


def _merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    tokens = list(vocabulary.tokens)
    return [(tokens[left], tokens[right]) for left, right in vocabulary.merges]


def _bpe(vocabulary: Vocabulary, model: models.BPE) -> Tokenizer:
    encoder = Tokenizer(model)
    missing = [mark for mark in pre_tokenizers.ByteLevel.alphabet() if encoder.token_to_id(mark) is None]
    if missing:
        # The library would leave out such bytes without a word.
        raise UserError(
            f"the vocabulary has no token for {len(missing)} of the 256 bytes (such as {min(missing)!a}); "
            "a whole byte-level vocabulary is needed."
        )
    if vocabulary.pre == "qwen2":
        encoder.normalizer = normalizers.NFC()
    steps: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(Regex(split), "isolated") for split in SPLITS[vocabulary.pre]
    ]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    encoder.pre_tokenizer = pre_tokenizers.Sequence([*steps, to_bytes])
    return _with_added(encoder, vocabulary)


def _spm(vocabulary: Vocabulary) -> Tokenizer:
    bytes_known = set(vocabulary.tokens) >= {f"<0x{byte:02X}>" for byte in range(256)}
    if vocabulary.unknown_id is None and not bytes_known:
        # The library would leave out what it cannot write without a word.
        raise UserError(
            "the vocabulary has neither a token for every byte nor tokenizer.ggml.unknown_token_id; "
            "convert the model again."
        )
    unknown = None if vocabulary.unknown_id is None else vocabulary.tokens[vocabulary.unknown_id]
    encoder = Tokenizer(
        models.BPE(
            _ids(vocabulary), _merges(vocabulary), unk_token=unknown, fuse_unk=True, byte_fallback=True
        )
    )
    marks: list[normalizers.Normalizer] = [normalizers.Replace(" ", SPACE_MARK)]
    if vocabulary.add_space_prefix:
        marks.insert(0, normalizers.Prepend(SPACE_MARK))
    encoder.normalizer = normalizers.Sequence(marks)
    return encoder
