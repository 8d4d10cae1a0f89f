"""The bundled model: a small writer of stories, so that a demonstration needs nothing else. See CARD.md."""

from pathlib import Path


def bundled_model_path() -> Path:
    """Return the path of the bundled model's GGUF file."""
    return Path(__file__).with_name("tales.gguf")
