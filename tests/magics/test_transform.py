"""What a cell is turned into before it runs, without a kernel."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from fooocus_nb.magics.transform import MagicLine, refuse_what_is_above, rewrite

LINES = ["", "a = 1\n", "# what?\n", "%fooocus a cat :(\n", "%fooocus it's\n", "!ls it's\n"]


def transformed(cell: str) -> str:
    """The cell as IPython's transformers leave it, with ours among them."""
    manager = TransformerManager()
    manager.token_transformers.append(MagicLine)
    return manager.transform_cell(cell)


def prompts(code: str) -> list[str]:
    """The lines that our magic is called with, in the order of the code."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    ours = [call for call in calls if len(call.args) == 2 and call.args[0].value == "fooocus"]
    return [call.args[1].value for call in sorted(ours, key=lambda call: call.lineno)]


@pytest.mark.parametrize("before", LINES)
@pytest.mark.parametrize(
    "line",
    [
        "%fooocus {}",
        "result = %fooocus {}",
        "results[0] = %fooocus {}",
        "if True:\n    %fooocus {}",
        "for x in y:\n    r = %fooocus {}",
        "def f():\n    r = %fooocus {}\n    return r",
    ],
)
@pytest.mark.parametrize(
    "prompt",
    ["is it a cat?", "what??", "isn't it?", "a (sunken) :) smile?", '"so", he said?', "?!?"],
)
def test_a_question_is_a_prompt_wherever_it_stands(before: str, line: str, prompt: str) -> None:
    assert prompts(transformed(before + line.format(prompt) + "\n"))[-1] == prompt


@given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1))
def test_no_prompt_is_changed(text: str) -> None:
    prompt = "p" + text.rstrip() + ("." if text.rstrip().endswith("\\") else "")
    assert prompts(transformed(f"x = 1\nr = %fooocus {prompt}\n")) == [prompt]
    assert prompts(transformed(f"x = 1\n%fooocus {prompt}\n%fooocus what?\n")) == [prompt, "what?"]


@pytest.mark.parametrize(
    "cell",
    [
        "s = '''\n%fooocus is it a cat?\n'''\n",
        "s = f'''\nr = %fooocus is it a cat?\n'''\n",
        "s = ['''\n%fooocus is it a cat?''',\n1]\n",
        "x = (7\n%fooocus)\n",
    ],
)
def test_what_stands_inside_strings_and_sums_is_left_alone(cell: str) -> None:
    assert transformed(cell) == cell


@pytest.mark.parametrize("cell", ["%fooocus?", "%fooocus??", "?%fooocus", "fooocus?", "x = 1\nx?"])
def test_a_call_for_help_stays_one(cell: str) -> None:
    assert "'pinfo" in transformed(cell)


@pytest.mark.parametrize(
    "cell",
    ["text = \"\"\"\n%%fooocus\na cat\"\"\"\n", "%%writefile x\n# a comment\n%%fooocus\n",
     "%%fooocus\n# a comment\n%%fooocus\n", "f(\n%%fooocus\n)\n"],
)  # fmt: skip
def test_text_that_looks_like_our_cell_is_left_alone(cell: str) -> None:
    lines = cell.splitlines(keepends=True)
    assert refuse_what_is_above(lines) == lines


def test_an_annotated_name_has_the_value() -> None:
    for awaited in (True, False):
        assert "value=True" in rewritten("made: object = %fooocus a cat\n", awaited=awaited)
    assert (
        rewritten("made: object\nx = 'fooocus'\n", awaited=True) == "made: object\nx = 'fooocus'\n"
    )


def test_the_body_of_another_cell_magic_is_left_alone() -> None:
    body = "r = %fooocus is it a cat?\n"
    assert transformed(f"%%writefile x.py\n{body}") == (
        f"get_ipython().run_cell_magic('writefile', 'x.py', {body!r})\n"
    )


def rewritten(cell: str, *, awaited: bool) -> str:
    return "".join(rewrite(transformed(cell).splitlines(keepends=True), awaited=awaited))


@pytest.mark.parametrize(
    "block",
    [
        "for x in y:\n    {}",
        "while x:\n    {}",
        "if x:\n    pass\nelse:\n    {}",
        "with x:\n    {}",
        "try:\n    {}\nfinally:\n    pass",
        "try:\n    pass\nexcept E:\n    {}",
        "match x:\n    case 1:\n        {}",
    ],
)
def test_blocks_await_and_have_the_value(block: str) -> None:
    code = rewritten(block.format("r = %fooocus a cat"), awaited=True)
    assert "r = await get_ipython()" in code
    assert "value=True" in code
    code = rewritten(block.format("%fooocus a cat"), awaited=True)
    assert "    await get_ipython()" in code
    assert "value=False" in code
    assert "value=True" in rewritten(block.format("r = %fooocus a cat"), awaited=False)


def test_functions_have_the_value_and_never_await() -> None:
    code = rewritten("def f():\n    for x in y:\n        r = %fooocus a cat\n", awaited=True)
    assert "await" not in code
    assert "value=True" in code


@pytest.mark.parametrize(
    "arguments", ["", ", f'start --port {port}'", ", line", ", *words", ", 'a cat', _stack_depth=2"]
)
def test_calls_written_by_hand_run_as_they_stand(arguments: str) -> None:
    code = f"result = get_ipython().run_line_magic('fooocus'{arguments})\n"
    assert rewritten(code, awaited=True) == code


def test_leaving_takes_everything_back() -> None:
    from fooocus_nb.magics.transform import AwaitingTransformer

    events = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)
    manager = TransformerManager()
    shell = SimpleNamespace(
        input_transformers_post=[], input_transformer_manager=manager, events=events
    )
    before = list(manager.token_transformers)
    transformer = AwaitingTransformer(shell)
    transformer.register()
    assert manager.token_transformers != before
    transformer.unregister()
    assert manager.token_transformers == before
    assert not shell.input_transformers_post
