"""The stubs of ring 0 are leaves by their machine code, and an image whose stubs are not is refused."""

import subprocess
from pathlib import Path

import pytest

from axiom.compiler.objects import compile_object
from axiom.host.cache import cache_dir
from axiom.host.errors import MachineError
from axiom.host.image.build import build_image
from axiom.host.image.ring0 import check_ring0
from axiom.host.machine.session import plan_for
from axiom.host.model.pack import packed_model
from axiom.models import bundled_model_path

STUBS = """
.section .ring0.text, "ax", @progbits
axiom_vectors:
  pushq %rax
  jne other
  iretq
unreached:
  movups %xmm0, (%rax)
  ret
other:
  {body}
after:
  incq (%rax)
  {after}
  iretq
.text
axiom_main:
  ret
"""


def image_with(body: str, folder: Path, after: str = "nop") -> Path:
    """Link an image whose stubs reach an instruction."""
    (folder / "code.o").write_bytes(compile_object([], [STUBS.format(body=body, after=after)]))
    command = ["ld", "-e", "axiom_main", "-o", folder / "image", folder / "code.o"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "image"


def test_the_stubs_of_the_kernel_are_leaves() -> None:
    plan = plan_for(packed_model(bundled_model_path()), None)
    check_ring0(build_image(plan.config, cache_dir()).path)


def test_plain_stubs_pass(tmp_path: Path) -> None:
    check_ring0(image_with("popq %rax", tmp_path))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("movdqu (%rax), %xmm3", "`other` of ring 0 touches a vector register: `movdqu (%rax),%xmm3`"),
        ("vmovdqu64 (%rax), %zmm17", "touches a vector register"),
        ("kmovq %rax, %k1", "touches a vector register"),
        ("fildl (%rax); fstp %st(1)", "touches a vector register"),
        ("call axiom_main", "goes to `axiom_main`, which is not one of its stubs"),
        ("jz axiom_main", "goes to `axiom_main`, which is not one of its stubs"),
        ("jmp *%rax", "goes where nothing is known"),
        ("call *8(%rax)", "goes where nothing is known"),
    ],
)
def test_what_no_stub_may_do_is_named(body: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(MachineError) as refused:
        check_ring0(image_with(body, tmp_path))
    assert text in refused.value.message


def test_what_a_stub_runs_into_counts(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="`after` of ring 0 touches a vector register"):
        check_ring0(image_with("nop", tmp_path, after="pxor %xmm1, %xmm1"))
