"""Devices: PCI, NVMe, serial, power."""
