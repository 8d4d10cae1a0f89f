"""From a GGUF file to its packed model, which is kept in a cache by the file's content.

Read gguf_file.py and llama.py for what is accepted, layout.py for what is made of it.
"""

from pathlib import Path

from axiom.host.errors import UserError
from axiom.host.model.cached_model import cached_model, model_of_content
from axiom.host.model.content_key import content_id, remembered_content_id
from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.llama import LlamaModel, read_llama
from axiom.host.model.packed_cache import default_cache_dir as default_cache_dir
from axiom.host.model.packed_cache import digests_dir, older_paths, packed_path
from axiom.host.model.packed_file import ModelFacts, PackedModel
from axiom.host.model.packed_writer import Progress, write_packed
from axiom.host.model.vocabulary import read_vocabulary
from axiom.host.serve.tokenizer import Tokenizer

CHAT_TEMPLATE = "tokenizer.chat_template"


def packed_model(
    gguf_path: Path, cache_dir: Path | None = None, progress: Progress | None = None
) -> PackedModel:
    """Return the packed form of a GGUF file, from the cache when the same content was packed before.

    cache_dir: `default_cache_dir()` unless given. progress: called with what is being done, bytes done and
    bytes in all. A cached file that is cut off or damaged is packed again, and one of an earlier format is
    removed; damage to the weights themselves is left to whoever loads them, who has their digests.
    Raises UserError naming what is wrong with the file, or that it cannot be stored.
    """
    folder = cache_dir if cache_dir is not None else default_cache_dir()
    memory = digests_dir(folder)
    found = cached_model(gguf_path, folder)
    if found is not None:
        return found
    # A file that will not do is refused before it is read from end to end.
    model, facts = _read(gguf_path)
    try:
        key = content_id(gguf_path, memory, progress)
    except OSError as error:
        raise UserError(f"{error.filename or gguf_path} cannot be used: {error.strerror}.") from None
    found = model_of_content(key, folder)
    if found is not None:
        return found
    write_packed(model, facts, key, packed_path(folder, key), progress)
    if remembered_content_id(gguf_path, memory) != key:
        packed_path(folder, key).unlink(missing_ok=True)
        raise UserError(f"{gguf_path} changed while it was packed; wait until it is complete.")
    found = model_of_content(key, folder)
    if found is None:
        raise UserError(f"{packed_path(folder, key)} was damaged while it was written; check the disk.")
    for old in older_paths(folder, key):
        old.unlink(missing_ok=True)
    return found


def _read(gguf_path: Path) -> tuple[LlamaModel, ModelFacts]:
    file = open_gguf(gguf_path)
    model = read_llama(file)
    vocabulary = read_vocabulary(file.metadata)
    if len(vocabulary.tokens) != model.shape.n_vocab:
        raise UserError(
            f"{gguf_path}: tokenizer.ggml.tokens has {len(vocabulary.tokens)} tokens, and the tensor "
            f"token_embd.weight has {model.shape.n_vocab} rows; the two must agree."
        )
    Tokenizer(vocabulary)  # refuses a vocabulary that cannot write every text
    template = file.metadata.text(CHAT_TEMPLATE) if CHAT_TEMPLATE in file.metadata else None
    facts = ModelFacts(model.name, gguf_path.name, model.quantisation(), template, vocabulary)
    return model, facts
