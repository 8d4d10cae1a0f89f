"""The bytes that each token stands for. A piece need not be valid UTF-8: characters may span tokens."""

import re

from axiom.host.model.vocabulary import BYTE, CONTROL, UNKNOWN, USER_DEFINED, Vocabulary

SPACE_MARK = "\u2581"
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_of_mark() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for (GPT-2's table).

    Bytes that print stand for themselves; the others are numbered from U+0100 on.
    """
    visible = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


class Pieces:
    """The bytes and the role of every token of a vocabulary. Raises ValueError for an id outside of it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._byte_of_mark = _byte_of_mark()
        self._is_spm = vocabulary.kind == "spm"

    def text_of(self, token_id: int) -> bytes:
        """Return the bytes that a token adds to the text; none for a control token."""
        kind = self._type(token_id)
        return b"" if kind in (CONTROL, UNKNOWN) else self._bytes(token_id, kind)

    def name_of(self, token_id: int) -> bytes:
        """Return the bytes that a token adds when control tokens are shown by name."""
        return self._bytes(token_id, self._type(token_id))

    def begins_text(self, token_id: int) -> bool:
        """Return whether the encoder put a space in front of the text that follows this token."""
        special = self._type(token_id) in (CONTROL, USER_DEFINED)
        return self._vocabulary.add_space_prefix and special

    @property
    def adds_space(self) -> bool:
        """Whether the encoder put a space in front of the whole text."""
        return self._vocabulary.add_space_prefix

    def _type(self, token_id: int) -> int:
        types = self._vocabulary.types
        if not 0 <= token_id < len(types):
            raise ValueError(f"the token id {token_id} is not in the vocabulary of {len(types)} tokens")
        return types[token_id]

    def _bytes(self, token_id: int, kind: int) -> bytes:
        token = self._vocabulary.tokens[token_id]
        if kind in (CONTROL, UNKNOWN, USER_DEFINED):
            return token.encode()
        if self._is_spm:
            named = _BYTE_TOKEN.fullmatch(token) if kind == BYTE else None
            return bytes([int(named[1], 16)]) if named else token.replace(SPACE_MARK, " ").encode()
        marks = self._byte_of_mark
        if all(mark in marks for mark in token):
            return bytes([marks[mark] for mark in token])
        return token.encode()  # padding and the like: not made of bytes
