"""Train the bundled model on stories of the grammar, on one processor thread, in float32.

Every story is new: the run never sees one twice, and the held-out stories have seeds of their own. Needs
PyTorch, which nothing else here does. Writes `weights.npz` (GGUF tensor names), `tokenizer.json` and
`training.json`, from which `export_gguf` makes the model file.

    python -m tools.bundled_model.train --steps 2800 --output build/first
    python -m tools.bundled_model.train --steps 1500 --from build/first --output build/bundled_model
        --seed 2 --first-story 10100000 --peak-rate 0.0015

The second command trains the first one's weights further, on further stories.
"""

import argparse
import json
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tools.bundled_model.shape import SHAPE, Shape
from tools.bundled_model.stories import stories
from tools.bundled_model.tokenizer import BOS_ID, EOS_ID, train_tokenizer
from torch import Tensor, nn
from torch.nn import functional

FIRST_TRAINING_SEED = 10_000_000
FIRST_HELD_OUT_SEED = 1_000_000
N_HELD_OUT = 256
BATCH_STORIES = 16
# Batches are made of stories of like length, sorted within a pool of this many.
POOL_STORIES = BATCH_STORIES * 32
# Every so many batches the rows are filled to the whole context with one story after another, so that
# every position is trained.
PACKED_EVERY = 8
IGNORED = -100
PEAK_RATE, FINAL_SHARE, WARMUP_STEPS = 3e-3, 1 / 30, 60


class Layer(nn.Module):
    """One block: attention and feed-forward, each after a norm and added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        q_width, kv_width = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
        self.attn_norm = nn.RMSNorm(shape.d_model, shape.rms_epsilon)
        self.attn_q = nn.Linear(shape.d_model, q_width, bias=False)
        self.attn_k = nn.Linear(shape.d_model, kv_width, bias=False)
        self.attn_v = nn.Linear(shape.d_model, kv_width, bias=False)
        self.attn_output = nn.Linear(q_width, shape.d_model, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.d_model, shape.rms_epsilon)
        self.ffn_gate = nn.Linear(shape.d_model, shape.d_ffn, bias=False)
        self.ffn_up = nn.Linear(shape.d_model, shape.d_ffn, bias=False)
        self.ffn_down = nn.Linear(shape.d_ffn, shape.d_model, bias=False)

    def heads(self, x: Tensor, count: int) -> Tensor:
        """(batch, tokens, count * head_dim) to (batch, count, tokens, head_dim)."""
        return x.view(x.shape[0], x.shape[1], count, self.shape.head_dim).transpose(1, 2)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        shape = self.shape
        h = self.attn_norm(x)
        q = rotate(self.heads(self.attn_q(h), shape.n_heads), cos, sin)
        k = rotate(self.heads(self.attn_k(h), shape.n_kv_heads), cos, sin)
        v = self.heads(self.attn_v(h), shape.n_kv_heads)
        group = shape.n_heads // shape.n_kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(mixed.transpose(1, 2).flatten(2))
        h = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply RoPE to the pairs (2i, 2i + 1), as GGUF's llama architecture has them."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Llama(nn.Module):
    """The whole model; the output matrix is the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.token_embd = nn.Embedding(shape.n_vocab, shape.d_model)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.n_layers))
        self.output_norm = nn.RMSNorm(shape.d_model, shape.rms_epsilon)
        frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).double() / shape.head_dim)
        angles = torch.arange(shape.n_context).double()[:, None] * frequencies
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                into_residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
                scale = 1 / math.sqrt(2 * shape.n_layers) if into_residual else 1.0
                nn.init.normal_(parameter, std=0.03 * scale)

    def forward(self, tokens: Tensor) -> Tensor:
        n_tokens = tokens.shape[1]
        x = self.token_embd(tokens)
        for layer in self.blk:
            x = layer(x, self.cos[:n_tokens], self.sin[:n_tokens])
        return functional.linear(self.output_norm(x), self.token_embd.weight)


def encode(tokenizer: Tokenizer, first_seed: int, count: int) -> list[list[int]]:
    """Return the tokens of so many stories, each between BOS and EOS."""
    encoded = tokenizer.encode_batch(list(stories(first_seed, count)), add_special_tokens=False)
    return [[BOS_ID, *story.ids, EOS_ID] for story in encoded]


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of rows of unequal length, as (rows, tokens) each."""
    width = max(map(len, rows))
    inputs = torch.tensor([row[:-1] + [EOS_ID] * (width - len(row)) for row in rows])
    targets = torch.tensor([row[1:] + [IGNORED] * (width - len(row)) for row in rows])
    return inputs, targets


def batches(tokenizer: Tokenizer, first_story: int, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches for ever, of stories never seen before."""
    seed = first_story
    while True:
        pool = sorted(encode(tokenizer, seed, POOL_STORIES), key=len)
        seed += POOL_STORIES
        groups = [pool[i : i + BATCH_STORIES] for i in range(0, POOL_STORIES, BATCH_STORIES)]
        rng.shuffle(groups)
        for index, group in enumerate(groups):
            if index % PACKED_EVERY == 0:
                row = [token for story in rng.sample(group, len(group)) for token in story]
                width = SHAPE.n_context + 1
                yield padded([row[i : i + width] for i in range(0, len(row) - width + 1, width)])
            else:
                yield padded(group)


def rate_at(step: int, steps: int, peak: float) -> float:
    """Return the learning rate: a linear rise, then a cosine down to the final one."""
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * progress)) / 2)


def loss_of(model: Llama, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats per token."""
    return functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


@torch.no_grad()
def held_out_loss(model: Llama, rows: list[list[int]]) -> float:
    """Return the mean loss over the held-out stories."""
    total, count = 0.0, 0
    for start in range(0, len(rows), BATCH_STORIES):
        inputs, targets = padded(rows[start : start + BATCH_STORIES])
        n_targets = int((targets != IGNORED).sum())
        total += float(loss_of(model, inputs, targets)) * n_targets
        count += n_targets
    return total / count


def optimizer_of(model: Llama) -> torch.optim.AdamW:
    """Return AdamW, with decay on matrices only."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95))


def save(model: Llama, tokenizer: Tokenizer, record: dict[str, object], folder: Path) -> None:
    """Write weights, tokenizer and record, each complete or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: p.detach().numpy() for name, p in model.named_parameters()}
    np.savez(folder / "weights.partial.npz", **arrays)
    os.replace(folder / "weights.partial.npz", folder / "weights.npz")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def load(model: Llama, folder: Path) -> None:
    """Take the weights that an earlier run has saved."""
    with np.load(folder / "weights.npz") as arrays, torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[name]))


def train(steps: int, seed: int, first_story: int, peak: float, earlier: Path | None, folder: Path) -> None:
    """Train for so many steps and write the result."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = train_tokenizer()
    held_out = encode(tokenizer, FIRST_HELD_OUT_SEED, N_HELD_OUT)
    model = Llama(SHAPE)
    if earlier is not None:
        load(model, earlier)
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{n_parameters} parameters, vocabulary of {tokenizer.get_vocab_size()}", flush=True)
    optimizer = optimizer_of(model)
    source = batches(tokenizer, first_story, random.Random(seed))
    started, n_tokens = time.monotonic(), 0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, peak)
        inputs, targets = next(source)
        loss = loss_of(model, inputs, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        n_tokens += inputs.numel()
        if step % 25 == 0:
            seconds = time.monotonic() - started
            print(f"step {step} loss {loss.item():.4f} {n_tokens / seconds:.0f} tokens/s", flush=True)
        if step % 250 == 249 or step == steps - 1:
            seconds = time.monotonic() - started
            measured = held_out_loss(model, held_out)
            print(f"step {step} held-out loss {measured:.4f} after {seconds:.0f} s", flush=True)
            record: dict[str, object] = {
                "torch": torch.__version__,
                "parameters": n_parameters,
                "steps": step + 1,
                "planned_steps": steps,
                "seed": seed,
                "first_story": first_story,
                "tokens": n_tokens,
                "seconds": round(seconds),
                "held_out_loss": round(measured, 4),
            }
            save(model, tokenizer, record, folder)


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description="Train the bundled model.")
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bundled_model"))
    parser.add_argument("--first-story", type=int, default=FIRST_TRAINING_SEED, help="its seed")
    parser.add_argument("--peak-rate", type=float, default=PEAK_RATE, help="highest learning rate")
    parser.add_argument("--from", dest="earlier", type=Path, help="folder of an earlier run to go on from")
    options = parser.parse_args()
    train(
        options.steps, options.seed, options.first_story, options.peak_rate, options.earlier, options.output
    )


if __name__ == "__main__":
    main()
