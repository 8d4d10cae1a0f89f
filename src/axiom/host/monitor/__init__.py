"""A virtual machine monitor: the least machine on Linux's KVM that an image with a mapped model needs."""
