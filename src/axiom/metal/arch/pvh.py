"""What a PVH boot loader leaves behind. Source: Xen, public/arch-x86/hvm/start_info.h, version 1."""

from axiom.lang import struct, u32, u64

START_INFO_MAGIC = 0x336EC578
FIRST_VERSION_WITH_MAP = 1


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
