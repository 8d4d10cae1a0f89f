"""The tools around the kernel."""
