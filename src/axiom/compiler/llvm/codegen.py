"""LLVM text to optimised machine code."""

import llvmlite.binding as llvm

from axiom.compiler.llvm.architectures import architecture_of, least_processor, start


def llvm_version() -> str:
    """Return LLVM's version, a part of every cache key."""
    return ".".join(str(part) for part in llvm.llvm_version_info)


def target_machine(triple: str, level: int, jit: bool) -> llvm.TargetMachine:
    """Return a code generator; functions name their own processor."""
    start(architecture_of(triple))
    target = llvm.Target.from_triple(triple)
    model = "jitdefault" if jit else "small"
    return target.create_target_machine(
        cpu=least_processor(triple), features="", opt=level, reloc="static", codemodel=model, jit=jit
    )


def optimise(text: str, machine: llvm.TargetMachine, level: int) -> llvm.ModuleRef:
    """Parse, verify and optimise a module."""
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def emit_object(text: str, triple: str, level: int = 3) -> bytes:
    """Return an object file."""
    machine = target_machine(triple, level, jit=False)
    return machine.emit_object(optimise(text, machine, level))


def optimised_text(text: str, triple: str, level: int = 3) -> str:
    """Return a module's LLVM text after optimisation."""
    return str(optimise(text, target_machine(triple, level, jit=False), level))


def emit_assembly(text: str, triple: str, level: int = 3) -> str:
    """Return an assembly listing."""
    machine = target_machine(triple, level, jit=False)
    return machine.emit_assembly(optimise(text, machine, level))
