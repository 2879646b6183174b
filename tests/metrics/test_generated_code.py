"""Generated code is cut into kernels, and nothing of it is lost."""

from __future__ import annotations

import pytest

from profiler.metrics.generated_code import CALLS, HEAD, Piece, pieces

TRITON = """import triton
async_compile = AsyncCompile()

# Source Nodes: [x], Original ATen: [aten.relu]
triton_poi_fused_relu_0 = async_compile.triton('triton_poi_fused_relu_0', '''
# a comment inside
def triton_poi_fused_relu_0(in_ptr0):
    pass
''', device_str='cuda')


cpp_fused_1 = async_compile.cpp_pybinding(['float*'], r'''
void kernel() {}
''')

async_compile.wait(globals())
def call(args):
    triton_poi_fused_relu_0.run()
"""


def test_kernels_stand_apart_with_their_comments():
    found = pieces(TRITON)
    assert [each.name for each in found] == [HEAD, "triton_poi_fused_relu_0", "cpp_fused_1", CALLS]
    assert found[1].text.startswith("# Source Nodes: [x]") and "a comment inside" in found[1].text
    assert "void kernel" in found[2].text
    assert found[3].text.startswith("async_compile.wait")


@pytest.mark.parametrize(
    "text", ["", "x = 1\n", TRITON, TRITON[:200], TRITON.replace("'''", '"""'), TRITON[: TRITON.index("async_compile.wait")]]
)
def test_the_parts_are_the_whole(text: str):
    assert "".join(each.text for each in pieces(text)) == text


def test_code_without_kernels_is_all_calls():
    assert pieces("def call(args):\n    pass\n") == [Piece(CALLS, "def call(args):\n    pass\n")]
