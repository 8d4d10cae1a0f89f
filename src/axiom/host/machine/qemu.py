"""QEMU's command line for a Q35 machine that runs one image. Tested with QEMU 7.2."""

from pathlib import Path

from axiom.host.machine.accelerator import Accelerator
from axiom.host.machine.guest_memory import mapped_file_address
from axiom.host.machine.machine import MachineOptions

FIRMWARE = "qboot.rom"
LARGEST_TRANSFER_POWER = 9
_CPU = {"kvm": "host,-arch-capabilities,+invtsc,vmware-cpuid-freq=on", "tcg": "max"}
# Devices that the kernel has no use for. With only the local interrupt controllers in Linux's kernel, which
# is all that the watchdog needs, QEMU starts in 43 ms instead of 62. TCG does not tell the frequency of its
# time-stamp counter: there the kernel measures it against the HPET.
_FEWER_DEVICES = "sata=off,smbus=off,smm=off,i8042=off,vmport=off"
_MACHINE = {"kvm": f"kernel-irqchip=split,pit=off,hpet=off,{_FEWER_DEVICES}", "tcg": _FEWER_DEVICES}
_HUGE_PAGE_BYTES = 2 << 20


def _quoted(path: Path) -> str:
    """Write a file name for a QEMU option, where a comma ends the value."""
    return str(path.absolute()).replace(",", ",,")


def qemu_command(
    options: MachineOptions, accelerator: Accelerator, memory: int, console: int, serial: int | None
) -> list[str]:
    """Return the arguments of QEMU; `memory`, `console` and `serial` are file descriptors it inherits."""
    arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"]
    arguments += ["-name", "axiom,debug-threads=on"]
    mapped = options.model is not None and options.load == "map"
    nvdimm = ",nvdimm=on" if mapped else ""
    machine = f"q35,accel={accelerator.name},{_MACHINE[accelerator.name]}{nvdimm}"
    arguments += ["-machine", machine, "-bios", FIRMWARE]
    arguments += ["-cpu", _CPU[accelerator.name], "-smp", str(options.cores)]
    arguments += _memory_arguments(options, memory)
    arguments += ["-chardev", f"file,id=console,path=/proc/self/fd/{console},append=on"]
    arguments += ["-serial", "chardev:console"]
    if serial is not None:
        arguments += ["-chardev", f"socket,id=link,fd={serial}", "-serial", "chardev:link"]
    arguments += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    if options.model is not None:
        arguments += _mapped_model(options) if mapped else _drive(options.model)
    arguments += ["-kernel", str(options.image.absolute())]
    if options.command_line:
        arguments += ["-append", options.command_line]
    if options.gdb_port is not None:
        arguments += ["-gdb", f"tcp:127.0.0.1:{options.gdb_port}", "-S"]
    return arguments


def _drive(model: Path) -> list[str]:
    drive = f"file={_quoted(model)},if=none,id=model,format=raw,readonly=on,cache=writeback,aio=threads"
    return ["-drive", drive, "-device", f"nvme,drive=model,serial=axiom,mdts={LARGEST_TRANSFER_POWER}"]


def _mapped_model(options: MachineOptions) -> list[str]:
    """Plug the file in as a memory module that nobody can write to; aligned, so that huge pages fit."""
    assert options.model is not None
    size = options.model.stat().st_size
    backend = f"memory-backend-file,id=model,mem-path={_quoted(options.model)},size={size},share=on"
    address = mapped_file_address(options.memory_bytes)
    device = f"nvdimm,memdev=model,unarmed=on,addr={address:#x}"
    return ["-object", f"{backend},readonly=on,align={_HUGE_PAGE_BYTES}", "-device", device]


def _memory_arguments(options: MachineOptions, file: int) -> list[str]:
    size = options.memory_bytes
    shared = size if options.shared_bytes is None else min(size, options.shared_bytes)
    backend = f"memory-backend-file,id=shared,mem-path=/proc/self/fd/{file},size={shared},share=on"
    module = ""
    if options.model is not None and options.load == "map":
        module = f",slots=1,maxmem={size + options.model.stat().st_size}"
    arguments = ["-m", f"size={size >> 20}M{module}", "-object", backend]
    arguments += ["-numa", "node,nodeid=0,memdev=shared"]
    if shared < size:
        arguments += ["-object", f"memory-backend-ram,id=rest,size={size - shared}"]
        arguments += ["-numa", "node,nodeid=1,memdev=rest"]
    return arguments
