"""PCI Express by memory-mapped configuration space (ECAM): find a function by class, place its registers.

Firmware's own placement is kept; where there is none (qboot places nothing) the first base address register
gets an address from a window that the caller names. Buses behind bridges are searched when firmware has
numbered them. Read first: `pci_registers`.
"""

from axiom.lang import (
    Array,
    Slice,
    array,
    fn,
    slice_at,
    static_var,
    struct,
    struct_in,
    u8,
    u16,
    u32,
    u64,
    unsafe,
    urange,
    zeroed,
)
from axiom.metal.arch.ports import in32, out32
from axiom.metal.drivers.pci_registers import (
    ABSENT,
    BAR_64_BIT,
    BAR_FLAGS,
    BAR_IS_PORTS,
    BAR_TYPE_MASK,
    BUS_BYTES,
    COMMAND_DECODE,
    COMMAND_MASTER,
    COMMAND_MEMORY,
    COMMAND_NO_INTERRUPT,
    CONFIG_ADDRESS,
    CONFIG_DATA,
    CONFIG_ENABLE,
    DEVICE_BYTES,
    FUNCTION_BYTES,
    HEADER_BRIDGE,
    HEADER_DEVICE,
    HEADER_KIND_MASK,
    HEADER_MANY_FUNCTIONS,
    HOST_BRIDGE_PCIEXBAR,
    MAX_BUSES,
    Q35_ECAM_ADDRESS,
    Q35_HOST_BRIDGE,
    BridgeHeader,
    DeviceHeader,
    PciStatus,
)

CONFIGURATION_BYTES = 16 * BUS_BYTES
MEMORY_WINDOW_ADDRESS = 0xFE800000
MEMORY_WINDOW_BYTES = 4 << 20


@struct
class PciState:
    """The mapped configuration space from bus 0 on, the window for registers, and buses to search."""

    configuration: Slice[u8]
    window_next: u64
    window_end: u64
    pending: Array[u8] = array(u8, MAX_BUSES)


@struct
class PciDevice:
    """A function that was found: the offset of its configuration space, and where its registers are."""

    configuration_offset: u64
    registers: u64
    registers_bytes: u64


pci = static_var(zeroed(PciState))


@fn(phase="init")
def _read_bridge(register: u32) -> u32:
    out32(u16(CONFIG_ADDRESS), register + CONFIG_ENABLE)
    return in32(u16(CONFIG_DATA))


@fn(phase="init")
def _write_bridge(register: u32, value: u32) -> None:
    out32(u16(CONFIG_ADDRESS), register + CONFIG_ENABLE)
    out32(u16(CONFIG_DATA), value)


@fn(phase="init")
def enable_q35_ecam() -> u64:
    """Return where a Q35 host bridge maps the configuration space, mapping it when it does not yet.

    Returns 0 for another host bridge. For firmware that has left no MCFG table.
    """
    if _read_bridge(u32(0)) != Q35_HOST_BRIDGE:
        return u64(0)
    low = _read_bridge(u32(HOST_BRIDGE_PCIEXBAR))
    if low & 1 != 0:
        return u64(low & 0xF0000000) + (u64(_read_bridge(u32(HOST_BRIDGE_PCIEXBAR + 4))) << 32)
    _write_bridge(u32(HOST_BRIDGE_PCIEXBAR + 4), u32(0))
    _write_bridge(u32(HOST_BRIDGE_PCIEXBAR), u32(Q35_ECAM_ADDRESS | 1))
    return u64(Q35_ECAM_ADDRESS)


@fn(phase="init")
def configuration_space(address: u64) -> Slice[u8]:
    """Return the configuration space of the first 16 buses, which the caller has mapped, uncached.

    address: what `acpi.find_ecam` or `enable_q35_ecam` found.
    """
    # SAFETY: firmware or the host bridge says that the configuration space is there, and no memory.
    with unsafe:
        return slice_at(u8, address, CONFIGURATION_BYTES)


@fn(phase="init")
def start_pci(configuration: Slice[u8], window_address: u64, window_bytes: u64) -> None:
    """Take the configuration space, mapped uncached from bus 0 on, and a free window of addresses."""
    pci.configuration = configuration
    pci.window_next = window_address
    pci.window_end = window_address + window_bytes


@fn(phase="init")
def find_class(class_code: u32, device: PciDevice) -> PciStatus:
    """Find the first function with a class code (class, subclass, interface) and enable it."""
    if pci.configuration.length < BUS_BYTES:
        return PciStatus.NO_ECAM
    n_buses = pci.configuration.length // BUS_BYTES
    for bus in urange(MAX_BUSES):
        pci.pending[bus] = 0
    pci.pending[0] = 1
    for bus in urange(n_buses):
        if pci.pending[bus] == 1 and _search_bus(bus, class_code, device):
            return _enable(device)
    return PciStatus.NOT_FOUND


@fn(phase="init")
def _search_bus(bus: u64, class_code: u32, device: PciDevice) -> bool:
    for number in urange(32):
        for function in urange(8):
            offset = bus * BUS_BYTES + number * DEVICE_BYTES + function * FUNCTION_BYTES
            header = struct_in(DeviceHeader, pci.configuration, offset)
            present = header.VENDOR_ID != ABSENT
            if present and class_code == header.CLASS_REVISION >> 8:
                device.configuration_offset = offset
                return True
            if present and header.HEADER_TYPE & HEADER_KIND_MASK == HEADER_BRIDGE:
                _note_bus_behind(bus, offset)
            if function == 0 and (not present or header.HEADER_TYPE & HEADER_MANY_FUNCTIONS == 0):
                break
    return False


@fn(phase="init")
def _note_bus_behind(bus: u64, offset: u64) -> None:
    """Search the bus behind a bridge too; it has a higher number, as enumeration is depth first."""
    secondary = u64(struct_in(BridgeHeader, pci.configuration, offset).SECONDARY_BUS)
    if secondary > bus:
        pci.pending[secondary] = 1


@fn(phase="init")
def _enable(device: PciDevice) -> PciStatus:
    """Size and place the first base address register, then let the function decode it and use DMA."""
    header = struct_in(DeviceHeader, pci.configuration, device.configuration_offset)
    low = header.BAR0
    if header.HEADER_TYPE & HEADER_KIND_MASK != HEADER_DEVICE or low & BAR_IS_PORTS != 0:
        return PciStatus.NO_MEMORY_BAR
    wide = low & BAR_TYPE_MASK == BAR_64_BIT
    address = u64(low & ~u32(BAR_FLAGS))
    if wide:
        address = address | u64(header.BAR1) << 32
    command = header.COMMAND & ~u16(COMMAND_DECODE | COMMAND_MASTER)
    header.COMMAND = command
    size = _bar_bytes(header, wide)
    if size == 0:
        return PciStatus.NO_MEMORY_BAR
    if address == 0:
        address = (pci.window_next + (size - 1)) & ~(size - 1)
        if address + size > pci.window_end:
            return PciStatus.WINDOW_FULL
        pci.window_next = address + size
    header.BAR0 = u32(address & 0xFFFFFFFF)
    if wide:
        header.BAR1 = u32(address >> 32)
    header.COMMAND = command | (COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTERRUPT)
    device.registers = address
    device.registers_bytes = size
    return PciStatus.OK


@fn(phase="init")
def _bar_bytes(header: DeviceHeader, wide: bool) -> u64:
    """Write ones and see which stick: the size is the lowest that does. 0 for none, or 4 GiB and more."""
    header.BAR0 = u32(0xFFFFFFFF)
    if wide:
        header.BAR1 = u32(0xFFFFFFFF)
    mask = header.BAR0 & ~u32(BAR_FLAGS)
    return u64(0) if mask == 0 else u64(~mask) + 1
