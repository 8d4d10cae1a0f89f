"""Measure, compare, report."""
