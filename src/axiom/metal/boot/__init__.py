"""Entry and main: the one place that wires all of it."""
