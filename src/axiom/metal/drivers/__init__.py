"""Devices: PCI, NVMe."""
