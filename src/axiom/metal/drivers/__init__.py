"""Devices: ACPI (where PCI is), PCI, NVMe, and the model loader."""
