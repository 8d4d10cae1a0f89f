"""Text to token ids and back, for one model.

Guarantees: the ids are those of llama.cpp for the same vocabulary, and decoding gives back every text
that was encoded, except what Unicode normalisation changes for `qwen2` and except U+2581, which comes back
as a space from a SentencePiece vocabulary. Threads may share a tokenizer. The work is done by the
`tokenizers` library; read tokenizer_build.py for how it is set up.
"""

import threading
from collections.abc import Iterable

from tokenizers import Tokenizer as Encoder

from axiom.host.errors import UserError
from axiom.host.model.vocabulary import Vocabulary
from axiom.host.serve.tokenizer_build import PartEncoders, build_encoder
from axiom.host.serve.tokenizer_part import MAX_TEXT_CHARACTERS
from axiom.host.serve.tokenizer_pieces import Pieces
from axiom.host.serve.tokenizer_stream import StreamDecoder

# From then on the time to make an encoder of everything is well spent.
MAX_PARTS = 3


class Tokenizer:
    """The tokenizer of one model."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.eos_ids = frozenset(vocabulary.eos_ids)
        self.bos_id = vocabulary.bos_id
        indexed = vocabulary.finder if vocabulary.kind == "bpe" else None
        self._parts = None if indexed is None else PartEncoders(vocabulary, indexed)
        self._n_parts = 0
        self._encoder = build_encoder(vocabulary) if self._parts is None else None
        self._pieces = Pieces(vocabulary)
        # Whether special tokens are recognised is a property of the encoder, not of a call.
        self._encoding = threading.Lock()

    @property
    def n_tokens(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary.tokens)

    def encode(self, text: str, add_bos: bool = True, parse_special: bool = False) -> list[int]:
        """Return the ids of a text.

        add_bos: begin with the BOS token if the model expects one. parse_special: read control tokens
        such as <|eot_id|> where their names stand in the text, as in a rendered chat template; otherwise
        the names are plain text, so that nobody can forge them.
        Raises UserError for text that no UTF-8 can hold (a lone surrogate).
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"the text holds {text[error.start]!a} at character {error.start}, half of a surrogate "
                "pair; Unicode text is needed."
            ) from None
        with self._encoding:
            encoder = self._encoder_for(text, parse_special)
            encoder.encode_special_tokens = not parse_special
            ids = encoder.encode(text, add_special_tokens=False).ids
        if add_bos and self.vocabulary.add_bos and self.bos_id is not None:
            return [self.bos_id, *ids]
        return ids

    def _encoder_for(self, text: str, parse_special: bool) -> Encoder:
        """Return one that knows all that this text needs: the first few short texts get one each."""
        if self._encoder is not None:
            return self._encoder
        if self._parts is not None and self._n_parts < MAX_PARTS and len(text) <= MAX_TEXT_CHARACTERS:
            self._n_parts += 1
            encoder = self._parts.encoder(text, parse_special)
            if encoder is not None:
                return encoder
        self._encoder = build_encoder(self.vocabulary)
        return self._encoder

    def decode(self, ids: Iterable[int], show_special: bool = False) -> str:
        """Return the text of ids; bytes that are no UTF-8 become U+FFFD.

        show_special: write control tokens by name instead of leaving them out.
        """
        stream = self.stream(show_special=show_special)
        return "".join([stream.push(token_id) for token_id in ids]) + stream.flush()

    def stream(self, prompt_ids: Iterable[int] = (), show_special: bool = False) -> StreamDecoder:
        """Return a decoder of ids that follow `prompt_ids` one by one."""
        stream = StreamDecoder(self._pieces, show_special)
        for token_id in prompt_ids:
            stream.skip(token_id)
        return stream
