"""GGUF in; packed weights out. Everything that a file claims is checked before it is believed."""
