"""Typed Python to LLVM: frontend, typed IR, checks, code."""
