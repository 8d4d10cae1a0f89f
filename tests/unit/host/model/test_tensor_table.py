"""Tensors lie on pages in forward order, and the layout's identity follows every detail."""

from pathlib import Path

import pytest
from gguf.constants import GGMLQuantizationType

from axiom.abi.model_shape import ModelShape, TensorSpec
from axiom.host.model.gguf_file import open_gguf
from axiom.host.model.llama import read_llama
from axiom.host.model.tensor_table import layout_id, tensor_table
from tests.unit.host.model.gguf_builder import TOKENS, gguf_bytes, llama_entries, llama_values, write

SHAPE = ModelShape(2, 32, 64, 4, 2, 8, 99, 64, 1e4, 1e-5, True)
TENSORS = (
    TensorSpec("rope_frequencies", "f64_vector", "", 1, 4, 0, 32),
    TensorSpec("token_embd", "matrix", "q8_0x16", 99, 32, 4096, 3808),
)


@pytest.mark.parametrize(
    ("kind", "layout", "bytes_per_row"),
    [
        (GGMLQuantizationType.F32, "f32x16", 128),
        (GGMLQuantizationType.F16, "f16x16", 64),
        (GGMLQuantizationType.Q8_0, "q8_0x16", 34),
        (GGMLQuantizationType.Q4_0, "q4_0x16", 18),
    ],
)
def test_tensors_follow_each_other_on_pages(
    kind: GGMLQuantizationType, layout: str, bytes_per_row: int, tmp_path: Path
) -> None:
    data = gguf_bytes(llama_values(), llama_entries(kind, tied=False))
    model = read_llama(open_gguf(write(tmp_path, data)))
    table = tensor_table(model)
    assert [spec.name for spec in table] == ["rope_frequencies", *model.tensors]
    assert table[0] == TENSORS[0]
    end = 0
    for spec in table:
        assert spec.offset == -(-end // 4096) * 4096
        end = spec.offset + spec.bytes
    embedding = table[1]
    padded = -(-len(TOKENS) // 16) * 16
    assert embedding == TensorSpec(
        "token_embd", "matrix", layout, len(TOKENS), 32, 4096, padded * bytes_per_row
    )
    assert table[-2].kind == "f32_vector"
    assert table[-2].bytes == 128


@pytest.mark.parametrize("name", ModelShape._fields)
def test_another_shape_has_another_identity(name: str) -> None:
    value = getattr(SHAPE, name)
    other = SHAPE._replace(**{name: not value if isinstance(value, bool) else value * 2})
    assert layout_id(other, TENSORS) != layout_id(SHAPE, TENSORS)


@pytest.mark.parametrize("name", TensorSpec._fields)
def test_another_table_has_another_identity(name: str) -> None:
    value = getattr(TENSORS[1], name)
    other = TENSORS[1]._replace(**{name: value * 2})
    assert layout_id(SHAPE, (TENSORS[0], other)) != layout_id(SHAPE, TENSORS)


def test_the_identity_is_64_bits_and_the_same_everywhere() -> None:
    assert layout_id(SHAPE, TENSORS) == layout_id(SHAPE._replace(), tuple(TENSORS))
    assert 0 < layout_id(SHAPE, TENSORS) < 1 << 64
