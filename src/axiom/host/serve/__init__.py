"""Tokenizer and text."""
