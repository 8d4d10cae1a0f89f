"""What a PVH boot loader leaves behind. Source: Xen, public/arch-x86/hvm/start_info.h, version 1.

Loaders need not align it to more than 4 bytes: all is copied from bytes. An address outside of memory is
the same as none.
"""

from axiom.lang import Slice, bytes_of, copy, fill_zero, fn, minimum, size_of, struct, u8, u32, u64, zeroed
from axiom.metal.arch.physical_memory import PhysicalMemory

START_INFO_MAGIC = 0x336EC578
FIRST_VERSION_WITH_MAP = 1
MAX_COMMAND_LINE_BYTES = 4096


@struct
class StartInfo:
    """`hvm_start_info`."""

    magic: u32
    version: u32
    flags: u32
    n_modules: u32
    modules_address: u64
    command_line_address: u64
    rsdp_address: u64
    memory_map_address: u64
    n_memory_ranges: u32
    reserved: u32


@struct
class MemoryMapEntry:
    """`hvm_memmap_table_entry`; the kinds are those of ACPI's E820 map."""

    address: u64
    bytes: u64
    kind: u32
    reserved: u32


@fn(phase="init")
def read_start_info(memory: PhysicalMemory, address: u64) -> StartInfo:
    """Return a copy of what lies at `address`; all zeros when that is no start_info."""
    info = zeroed(StartInfo)
    if memory.holds(address, u64(size_of(StartInfo))):
        copy(bytes_of(info), memory.range(address, u64(size_of(StartInfo))))
    if info.magic != START_INFO_MAGIC:
        fill_zero(bytes_of(info))
    return info


@fn(phase="init")
def memory_map_bytes(memory: PhysicalMemory, info: StartInfo) -> Slice[u8]:
    """Return the entries of the memory map one after the other; none where the loader gave none."""
    count = u64(info.n_memory_ranges) * size_of(MemoryMapEntry)
    known = info.magic == START_INFO_MAGIC and info.version >= FIRST_VERSION_WITH_MAP
    if not known or not memory.holds(info.memory_map_address, count):
        return memory.bytes.part(0, 0)
    return memory.range(info.memory_map_address, count)


@fn(phase="init")
def memory_map_entry(entries: Slice[u8], number: u64) -> MemoryMapEntry:
    """Return a copy of one of the entries that `memory_map_bytes` gave."""
    entry = zeroed(MemoryMapEntry)
    copy(bytes_of(entry), entries.part(number * size_of(MemoryMapEntry), size_of(MemoryMapEntry)))
    return entry


@fn(phase="init")
def command_line_bytes(memory: PhysicalMemory, info: StartInfo) -> Slice[u8]:
    """Return the command line where the loader put it, without the final zero, or its first 4096 bytes."""
    at = info.command_line_address
    if not memory.holds(at, u64(1)):
        return memory.bytes.part(0, 0)
    text = memory.range(at, minimum(u64(MAX_COMMAND_LINE_BYTES), memory.start + memory.bytes.length - at))
    count = u64(0)
    while count < text.length and text[count] != 0:
        count += 1
    return text.part(0, count)
