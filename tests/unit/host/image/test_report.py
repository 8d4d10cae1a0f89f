"""What `axiom report` says of the kernel holds: bounded stacks, confined unsafe code, elided checks."""

from pathlib import Path

import pytest

from axiom.host.cache import cache_dir
from axiom.host.errors import MachineError
from axiom.host.image import stack
from axiom.host.image.build import build_image
from axiom.host.image.report import make_report
from axiom.host.image.stack import RING0, image_stack_bounds
from axiom.host.machine.session import plan_for
from axiom.host.model.pack import packed_model
from axiom.models import bundled_model_path

RUN_STACK_LIMIT_BYTES = 64 << 10


def test_the_kernel_keeps_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_for(packed_model(bundled_model_path()), None)
    image = build_image(plan.config, cache_dir())
    report = make_report(plan.config, image)
    assert {"axiom_main", "axiom_run", "axiom_exception", RING0} <= report.stack_bounds.keys()
    assert all(bound.bytes <= report.stack_bytes[name] for name, bound in report.stack_bounds.items())
    assert 1000 < report.stack_bounds["axiom_run"].bytes < RUN_STACK_LIMIT_BYTES
    assert report.unsafe_blocks.keys() == {"arch", "drivers", "kernel"}
    assert report.checks_elided["bounds"] > report.checks_kept["bounds"] > 0
    assert {"ops", "engine", "kernel", "drivers", "boot", "assembly"} <= report.code_bytes.keys()

    def small(config: object) -> dict[str, int]:
        return {"axiom_run": 512}

    monkeypatch.setattr(stack, "stack_sizes", small)
    with pytest.raises(MachineError, match=r"`axiom_run` can use .* bytes of its stack of 512"):
        image_stack_bounds(plan.config, Path(image.path))
