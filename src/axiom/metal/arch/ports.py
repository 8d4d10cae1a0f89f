"""Port I/O. Ring 3 may use every port: the TSS holds an all-zero permission map."""

from axiom.lang import asm, asm_value, fn, u8, u16, u32, unsafe


@fn
def out8(port: u16, value: u8) -> None:
    """Write one byte to a port."""
    # SAFETY: a port write touches no memory of ours; the caller owns the device.
    with unsafe:
        asm("outb $1, $0", "{dx},{al}", port, value)


@fn
def in8(port: u16) -> u8:
    """Read one byte from a port."""
    # SAFETY: a port read touches no memory of ours; the caller owns the device.
    with unsafe:
        return asm_value(u8, "inb $1, $0", "={al},{dx}", port)


@fn
def out32(port: u16, value: u32) -> None:
    """Write four bytes to a port."""
    # SAFETY: a port write touches no memory of ours; the caller owns the device.
    with unsafe:
        asm("outl $1, $0", "{dx},{eax}", port, value)


@fn
def in32(port: u16) -> u32:
    """Read four bytes from a port."""
    # SAFETY: a port read touches no memory of ours; the caller owns the device.
    with unsafe:
        return asm_value(u32, "inl $1, $0", "={eax},{dx}", port)
