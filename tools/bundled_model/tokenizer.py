"""Train the byte-level BPE tokenizer of the bundled model on the story grammar's own text.

The vocabulary is a multiple of 16, begins with the two special tokens, and holds all 256 bytes, so that
any prompt can be written with it. The same stories always give the same tokenizer.
"""

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from tools.bundled_model.stories import stories

VOCABULARY_TOKENS = 2048
BOS, EOS = "<|begin|>", "<|end|>"
BOS_ID, EOS_ID = 0, 1
FIRST_SEED = 5_000_000
N_STORIES = 20_000


def empty_tokenizer(model: BPE) -> Tokenizer:
    """Return a tokenizer that splits text as GPT-2 does and applies `model` to each piece.

    Text never becomes a special token, whatever it says.
    """
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer


def train_tokenizer() -> Tokenizer:
    """Train the tokenizer."""
    tokenizer = empty_tokenizer(BPE())
    trainer = BpeTrainer(
        vocab_size=VOCABULARY_TOKENS,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(stories(FIRST_SEED, N_STORIES), trainer, length=N_STORIES)
    return tokenizer
