"""Compile metal for a plan and link it."""
