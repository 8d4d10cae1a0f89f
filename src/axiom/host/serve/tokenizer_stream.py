"""Text from token ids that arrive one by one, never cut within a character.

Guarantees: the texts put together are what decoding all ids at once gives, and a character appears as soon
as its last byte has arrived.
"""

import codecs

from axiom.host.serve.tokenizer_pieces import Pieces


class StreamDecoder:
    """Decodes one sequence. Call `push` for each id and `flush` once at the end."""

    def __init__(self, pieces: Pieces, show_special: bool = False) -> None:
        self._pieces = pieces
        self._piece_of = pieces.name_of if show_special else pieces.text_of
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        # SentencePiece encoders write a space in front of every stretch of text; it is taken off again.
        self._drop_space = pieces.adds_space

    def push(self, token_id: int) -> str:
        """Return the text that this id completes, possibly none."""
        piece = self._piece_of(token_id)
        if self._drop_space and piece.startswith(b" ") and not self._pieces.begins_text(token_id):
            piece = piece[1:]
        self.skip(token_id)
        return self._utf8.decode(piece)

    def skip(self, token_id: int) -> None:
        """Take note of an id in front of the text without decoding it."""
        self._drop_space = self._pieces.begins_text(token_id)

    def flush(self) -> str:
        """Return what is left of a character whose bytes never came: U+FFFD, or nothing."""
        return self._utf8.decode(b"", final=True)
