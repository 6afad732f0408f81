"""The magics in a real kernel, on a demo engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from IPython.core import completer

SIZE = "--size 128x128 --steps 2 -n 1"

PROMPTS = [
    "a lighthouse at dusk",
    "__animal__ on the moon, (golden light:1.2), <lora:x:0.8>",
    "[[red, green, blue]] balloons",
    'it\'s "quoted", $HOME, {braces} and {{more}}, 100%',
    "a cat? yes",
    "灯塔，黄昏，油画",
    r"back\slash \n and `ticks`; # no comment !ls",
    "= equals, @at, <b>bold</b>",
]


def plain(text):
    """A traceback without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("prompt", [*PROMPTS, "two lines,\n  the second indented\n\nand a fourth"])
def test_a_cell_leaves_the_prompt_untouched(notebook, prompt):
    notebook.run(f"%%fooocus {SIZE} -o result\n{prompt}")
    assert notebook.value("result.prompt") == prompt
    assert notebook.value("result[0].parameters['prompt']") == prompt


@pytest.mark.parametrize("prompt", [*PROMPTS, "a cat or a dog?"])
def test_a_line_leaves_the_prompt_untouched(notebook, prompt):
    notebook.run(f"%fooocus {SIZE} -o result {prompt}")
    assert notebook.value("result.prompt") == prompt


def test_what_stays_is_a_gallery_with_fallbacks(notebook):
    cell = notebook.run(f"%%fooocus {SIZE} -n 2 --seed 7 -o result\na <script>alert(1)</script>")
    (bundle,) = cell.bundles
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["text/html"].count("data:image/webp;base64,") == 2
    assert "<script" not in bundle["text/html"]
    assert "&lt;script&gt;" in bundle["text/html"]
    assert cell.updates >= 1
    assert cell.text == ""


def test_the_options_reach_the_engine(notebook):
    notebook.run(
        "%%fooocus -n 2 --seed 41 --style 'Fooocus V2' --style 'SAI Anime' --negative 'dull, grey' "
        "--performance Quality --aspect 1152x896 --steps 2 --set guidance_scale=5.5 "
        "--set black_out_nsfw=false --set sharpness=3 -o result\na harbour"
    )
    parameters = notebook.value("dict(result.parameters)")
    assert parameters["image_seed"] == 41
    assert parameters["style_selections"] == ["Fooocus V2", "SAI Anime"]
    assert parameters["negative_prompt"] == "dull, grey"
    assert parameters["performance_selection"] == "Quality"
    assert parameters["guidance_scale"] == 5.5
    assert parameters["sharpness"] == 3
    assert notebook.value("[image.seed for image in result]") == [41, 42]
    assert notebook.value("[list(image.open().size) for image in result]") == [[1152, 896]] * 2


def test_a_portable_cell_says_what_was_changed(notebook):
    for _ in range(2):  # also the second time
        cell = notebook.run(
            "%%fooocus --portable --style 'Fooocus V2' --size 64x64 --steps 1 -n 1 -o r\na boat"
        )
        assert "portable: the expanded prompt stands in the prompt" in cell.text
    assert notebook.value("[r.parameters['style_selections'], len(r)]") == [[], 1]
    assert notebook.value("r.prompt.startswith('a boat,')")


def test_repeats_have_seeds_of_their_own(notebook):
    notebook.run(f"%%fooocus {SIZE} -n 2 --repeat 3 --seed 10 -o result\na harbour")
    assert notebook.value("[image.seed for image in result]") == [10, 11, 12, 13, 14, 15]
    notebook.run(f"%%fooocus {SIZE} --repeat 3 -o result\na harbour")
    assert len(set(notebook.value("[image.seed for image in result]"))) == 3


def test_the_same_seed_makes_the_same_image(notebook):
    for name in "ab":
        notebook.run(f"%%fooocus {SIZE} --seed 5 -o {name}\na harbour")
    assert notebook.value("a[0].open().tobytes() == b[0].open().tobytes()")
    assert notebook.value("a[0].path != b[0].path")


def test_the_files_are_beside_the_notebook(notebook):
    notebook.run(f"%%fooocus {SIZE} -o result\na harbour")
    path = Path(notebook.value("str(result[0].path)"))
    assert path.is_file()
    assert path.parent == Path(notebook.value("__import__('os').getcwd()")) / "fooocus-outputs"


def test_a_value_is_assigned(notebook):
    notebook.run(f"result = %fooocus {SIZE} --seed 3 a harbour")
    assert notebook.value("result.seed") == 3


def test_a_cell_that_loads_the_extension_has_values_too(kernel_in, tmp_path):
    notebook = kernel_in(tmp_path, FOOOCUS_DEMO_STEP_SECONDS="0")
    cell = notebook.run(
        "%load_ext fooocus_nb\n%fooocus start --demo\n"
        f"made = %fooocus {SIZE} --seed 3 a harbour\n"
        f"def draw():\n    drawn = %fooocus {SIZE} --seed 4 a harbour\n    return drawn\n"
        f"all = [made, draw()]\n%fooocus {SIZE} --seed 5 a harbour"
    )
    assert len(cell.bundles) == 4  # the start, and each result once
    assert notebook.value("[result.seed for result in all]") == [3, 4]
    notebook.run(
        f"line = '{SIZE} --seed 6 a cat'\nby_hand = get_ipython().run_line_magic('fooocus', line)"
    )
    assert notebook.value("by_hand.seed") == 6


def test_a_question_is_drawn_on_any_line_and_in_blocks(notebook):
    notebook.run(
        f"x = 1\nresult = %fooocus {SIZE} isn't it a cat?\n"
        f"results = []\nfor i in range(2):\n    again = %fooocus {SIZE} what is it?\n"
        "    results.append(again)\n"
        f"def draw():\n    drawn = %fooocus {SIZE} a dog?\n    return drawn\n"
        "results.append(draw())"
    )
    assert notebook.value("result.prompt") == "isn't it a cat?"
    assert notebook.value("[r.prompt for r in results]") == ["what is it?"] * 2 + ["a dog?"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("%%fooocus --performance Sped\na cat", "Did you mean 'Speed'?"),
        ("%%fooocus --set shapness=3\na cat", "Did you mean 'sharpness'?"),
        ("%%fooocus --set sharpness=99\na cat", "0 to 30"),
        ("%%fooocus --sed 3\na cat", "Did you mean '--seed'?"),
        ("%%fooocus\n\n", "empty"),
        ("%fooocus a cat --seed 3", "options come before the prompt"),
        ("%fooocus", "needs a prompt or a verb"),
        ("%fooocus status --name nobody", "no engine named 'nobody'"),
        ("%fooocus start --demo --name demo", "runs already"),
        ("%fooocus start --dmeo", "Did you mean '--demo'?"),
        ("%fooocus connect http://127.0.0.1:9", "127.0.0.1:9"),
    ],
)
def test_a_mistake_is_an_error_without_our_frames(notebook, code, told):
    cell = notebook.run(code, fails=True)
    assert told in cell.error + cell.text
    assert "fooocus_nb/" not in cell.error


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("engine.generate('x', stile=['a'])", "Did you mean 'styles'?"),
        ("await engine.agenerate('x', sharpness=99)", "0 to 30"),
        ("fooocus_nb.connect('http://127.0.0.1:9')", "127.0.0.1:9"),
        ("engine.parameters['shapness']", "Did you mean 'sharpness'?"),
    ],
)
def test_a_mistake_in_python_shows_its_line_and_the_message(notebook, code, told):
    notebook.run("import fooocus_nb; engine = fooocus_nb.get('demo')")
    lines = plain(notebook.run(code, fails=True).error).splitlines()
    assert f"----> 1 {code}" in lines
    assert told in lines[-2]
    assert "left out: %xmode Verbose shows them" in lines[-1]
    assert len(lines) <= 8
    assert "direct cause" not in "".join(lines)


def test_everything_is_shown_to_who_asks_for_it(notebook):
    notebook.run("import fooocus_nb\n%xmode Verbose")
    try:
        cell = notebook.run("fooocus_nb.connect('http://127.0.0.1:9')", fails=True)
    finally:
        notebook.run("%xmode Context")
    assert "fooocus_nb/engine/manager.py" in cell.error
    assert "direct cause" in cell.error


def test_what_users_raised_before_is_not_hidden(notebook):
    notebook.run("import fooocus_nb")
    code = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    fooocus_nb.get('nobody')"
    error = notebook.run(code, fails=True).error
    assert "ZeroDivisionError" in error
    assert "no engine named 'nobody'" in error


def test_starts_and_restarts_show_what_they_wait_for(notebook):
    for line in ("start --demo --name slow -- --fault slow-start=1", "restart --name slow"):
        seen = []

        def look(message, seen=seen):
            seen.append(message["content"].get("data", {}).get("text/plain", ""))

        cell = notebook.run(f"%fooocus {line}", hook=look)
        assert any("Downloading" in text for text in seen), seen
        assert "is ready" in cell.bundles[-1]["text/plain"]
    notebook.run("%fooocus stop --name slow")


def test_the_verbs(notebook):
    assert "ready" in notebook.run("%fooocus status").shown
    lines = notebook.run("%fooocus logs -n 3").text.splitlines()
    assert 1 <= len(lines) <= 3
    table = notebook.run("%fooocus params sharp").bundles[0]
    assert "sharpness" in table["text/plain"]
    assert "sharpness" in table["text/html"]
    assert "--repeat" in notebook.run("%fooocus help").shown
    assert "nothing" in notebook.run("%fooocus skip").text


def test_an_engine_has_a_name_and_a_second_one(notebook):
    notebook.run("%fooocus start --demo --name second")
    try:
        notebook.run(f"%%fooocus {SIZE} --name demo -o result\na cat")
        assert notebook.value("result.engine") == "demo"
        notebook.run(f"%%fooocus {SIZE} -o result\na cat")
        assert notebook.value("result.engine") == "second"
        url = notebook.value("__import__('fooocus_nb').get('demo').url")
        notebook.run(f"%fooocus connect {url} --name third")
        notebook.run(f"%%fooocus {SIZE} --name third -o result\na cat")
        assert notebook.value("len(result)") == 1
        notebook.run("%fooocus stop --name third")
        assert "ready" in notebook.run("%fooocus status --name demo").shown
    finally:
        notebook.run("%fooocus stop --name second")
    notebook.run("%fooocus restart --name demo")
    notebook.run(f"%%fooocus {SIZE} --name demo -o result\na cat")


@pytest.mark.skipif(
    not hasattr(completer, "context_matcher"), reason="matchers came with IPython 8.6"
)
def test_completion(notebook):
    assert "start" in notebook.complete("%fooocus st")
    assert "--seed" in notebook.complete("%%fooocus --se")
    assert '"SAI Anime"' in notebook.complete("%%fooocus --name demo --style sai")
    assert "sharpness=" in notebook.complete("%fooocus --set sharp")
    assert "Speed" in notebook.complete("%%fooocus --performance Sp")


def test_completion_of_python(notebook):
    notebook.run("import fooocus_nb; engine = fooocus_nb.get('demo'); table = engine.parameters")
    assert [name.removeprefix(".") for name in notebook.complete("engine.gene")] == ["generate"]
    assert len(notebook.complete("engine.")) > 40
    assert [name.strip("'\"]") for name in notebook.complete("table['sharp")] == ["sharpness"]
    assert "start" in notebook.complete("fooocus_nb.st")


def test_python_calls_in_cells(notebook):
    notebook.run("import fooocus_nb; engine = fooocus_nb.get('demo')")
    notebook.run("small = dict(width=128, height=128, steps=2, image_number=1)")
    cell = notebook.run("engine.generate('a cat', **small)")
    assert any("data:image/webp" in bundle.get("text/html", "") for bundle in cell.bundles)
    notebook.run("result = await engine.agenerate('a cat', **small)")
    assert notebook.value("len(result)") == 1


def test_under_time_and_capture(notebook):
    cell = notebook.run(f"%%time\n%fooocus {SIZE} -o result a cat")
    assert "Wall time" in cell.text
    cell = notebook.run(f"%%capture seen\n%fooocus {SIZE} -o result a cat")
    assert not cell.outputs
    assert notebook.value("len(seen.outputs)") == 1


def test_reloading_leaves_one_of_everything(notebook):
    notebook.run("%reload_ext fooocus_nb")
    cell = notebook.run(f"%%fooocus {SIZE}\na cat")
    assert len(cell.bundles) == 1
    assert (
        notebook.value(
            "sum(type(t).__name__ == 'AwaitingTransformer' "
            "for t in get_ipython().input_transformers_post)"
        )
        == 1
    )


def test_an_interrupt_keeps_what_is_done(new_notebook):
    notebook = new_notebook(FOOOCUS_DEMO_STEP_SECONDS="0.1")
    notebook.run("%fooocus start --demo")

    def second_begun(message):
        html = message["content"].get("data", {}).get("text/html", "")
        return "image 2 of 3" in html

    hook = notebook.interrupt_when(second_begun)
    cell = notebook.run(
        "%%fooocus -n 3 --steps 6 --size 256x256 --seed 1 -o kept\na cat", hook=hook, fails=True
    )
    assert "1 image is done" in cell.error or "2 images are done" in cell.error
    assert notebook.value("[image.seed for image in kept]")[:1] == [1]
    assert "data:image/webp" in cell.bundles[-1]["text/html"]
    notebook.run(f"%%fooocus {SIZE} -o after\na dog")
    assert notebook.value("len(after)") == 1


@pytest.mark.slow
def test_an_interrupt_of_a_plain_call(new_notebook):
    notebook = new_notebook(FOOOCUS_DEMO_STEP_SECONDS="0.1")
    notebook.run("import fooocus_nb\nengine = fooocus_nb.start(demo=True)")

    def second_begun(message):
        return "image 2 of 3" in message["content"].get("data", {}).get("text/html", "")

    hook = notebook.interrupt_when(second_begun)
    cell = notebook.run(
        "engine.generate('a cat', image_number=3, steps=6, width=256, height=256)",
        hook=hook,
        fails=True,
    )
    assert "KeyboardInterrupt" in cell.error
    assert notebook.value("len(engine.last_result)") in (1, 2)
    assert notebook.value("str(engine.state)") == "ready"
    notebook.run("result = engine.generate('a dog', steps=2, width=128, height=128)")


def test_nothing_is_written_into_a_cell_that_has_ended(notebook):
    notebook.run(f"%%fooocus {SIZE}\na cat")
    first = notebook.run("1")
    late = [first]
    for _ in range(3):
        late.append(notebook.run("import time; time.sleep(0.5)"))
    assert [cell.updates for cell in late] == [0, 0, 0, 0]
    assert not any(cell.bundles for cell in late[1:])


def test_the_doctors_report_is_the_value_of_its_line(notebook, tmp_path):
    (missing,) = notebook.run(f"%fooocus doctor --path {tmp_path / 'x'}").bundles
    for text in missing.values():
        assert "%fooocus install" in text
        assert "fooocus-nb install" not in text
    cell = notebook.run(f"%fooocus doctor --path {tmp_path}")
    (bundle,) = cell.bundles
    assert "<table" in bundle["text/html"]
    assert "launch.py" in bundle["text/plain"]
    notebook.run("report = %fooocus doctor --port 70000")
    assert notebook.value("(report['port'].status.value, report.exit_code)") == ["failure", 1]
    assert notebook.value("'torch' in __import__('sys').modules") is False
