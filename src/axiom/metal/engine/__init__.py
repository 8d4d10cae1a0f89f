"""What to compute next: schedule, forward pass, sampler, sequence."""
