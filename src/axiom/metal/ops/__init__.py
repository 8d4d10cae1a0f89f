"""Pure arithmetic: no I/O, no state."""
