"""What host and metal must agree on."""
