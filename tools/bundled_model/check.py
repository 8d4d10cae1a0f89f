"""Sample stories from a GGUF file with the NumPy forward pass, and measure its held-out loss.

This proves the whole chain: what is read here is the file that ships, quantised, with its own tokenizer.

    python -m tools.bundled_model.check src/axiom/models/tales.gguf --count 3 --temperature 0.8
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tools.bundled_model.forward import Floats, Model, open_model
from tools.bundled_model.stories import stories
from tools.bundled_model.tokenizer import BOS_ID, EOS_ID

FIRST_HELD_OUT_SEED = 1_000_000


def pick(logits: Floats, temperature: float, rng: np.random.Generator) -> int:
    """Draw a token; temperature 0 takes the likeliest."""
    if temperature == 0:
        return int(np.argmax(logits))
    scaled = (logits - logits.max()).astype(np.float64) / temperature
    shares = np.exp(scaled)
    return int(rng.choice(len(shares), p=shares / shares.sum()))


def sample(
    model: Model, tokenizer: Tokenizer, prompt: str, temperature: float, seed: int, limit_tokens: int = 320
) -> tuple[str, bool]:
    """Continue a prompt; return the whole text, and whether it ended by itself."""
    rng = np.random.default_rng(seed)
    model.restart()
    tokens = [BOS_ID, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    logits = [model.logits(token) for token in tokens][-1]
    while len(tokens) < limit_tokens:
        token = pick(logits, temperature, rng)
        if token == EOS_ID:
            return tokenizer.decode(tokens[1:]), True
        tokens.append(token)
        logits = model.logits(token)
    return tokenizer.decode(tokens[1:]), False


def loss_of(model: Model, tokenizer: Tokenizer, text: str) -> tuple[float, int]:
    """Return the summed cross-entropy of a story and its EOS, in nats, and the number of tokens."""
    tokens = [BOS_ID, *tokenizer.encode(text, add_special_tokens=False).ids, EOS_ID]
    model.restart()
    total = 0.0
    for token, following in pairwise(tokens):
        logits = model.logits(token).astype(np.float64)
        peak = logits.max()
        total += peak + np.log(np.exp(logits - peak).sum()) - logits[following]
    return float(total), len(tokens) - 1


def main() -> None:
    """Read the options, print samples and the loss."""
    parser = argparse.ArgumentParser(description="Sample from a GGUF file and measure it.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--held-out", type=int, default=16, help="stories to measure the loss on")
    options = parser.parse_args()
    model, tokenizer = open_model(options.model)
    for seed in range(options.first_seed, options.first_seed + options.count):
        text, ended = sample(model, tokenizer, options.prompt, options.temperature, seed)
        print(text, "<end>" if ended else "<limit>", end="\n\n")
    measured = [loss_of(model, tokenizer, text) for text in stories(FIRST_HELD_OUT_SEED, options.held_out)]
    if measured:
        total, count = (sum(column) for column in zip(*measured, strict=True))
        print(f"held-out loss {total / count:.4f} nats per token over {count} tokens")


if __name__ == "__main__":
    main()
