"""Axiom: an operating-system kernel for large-language-model inference, written in Python."""
