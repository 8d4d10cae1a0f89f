"""How the bundled model is made: a story grammar, a tokenizer, a training run, a GGUF file, a check."""
