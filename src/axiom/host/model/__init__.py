"""GGUF in; packed weights and memory plan out."""
