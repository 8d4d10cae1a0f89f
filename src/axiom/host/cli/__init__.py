"""Arguments and text, nothing else."""
