"""Options of the magics: parameters, variables, help and mistyped verbs, in a real kernel."""

from __future__ import annotations

import re

import pytest
from IPython.core import completer
from IPython.core.error import UsageError

from fooocus_nb.errors import EngineStopped, in_words_of
from fooocus_nb.magics import verbs
from fooocus_nb.magics.parsing import (
    parse_cell_line,
    parse_generate_line,
    parse_verb_line,
    split_verb,
)

SIZE = "--size 96x64 --steps 1 -n 1"


def told(cell) -> str:
    """All that a cell says of an error, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", cell.error + cell.text)


def test_every_parameter_is_an_option(notebook):
    lora = notebook.value("list(__import__('fooocus_nb').current().loras)[0]")
    notebook.run(
        f"%%fooocus {SIZE} --sampler euler --guidance-scale 7 --black-out-nsfw=true "
        f"--lora '{lora}:0.8' --clip-skip 3 --scheduler normal -o made\na harbour"
    )
    names = ["sampler_name", "guidance_scale", "black_out_nsfw", "clip_skip", "scheduler_name"]
    assert notebook.value(f"[made.parameters[n] for n in {names}]") == [
        "euler", 7, True, 3, "normal",
    ]  # fmt: skip
    values = notebook.value("[made[0].parameters[f'lora_1_{n}'] for n in ('model', 'weight')]")
    assert values == [lora, 0.8]
    notebook.run(f"%fooocus {SIZE} --sampler euler --guidance-scale 7 -o made a harbour, 7 boats")
    assert notebook.value("made.parameters['sampler_name']") == "euler"
    assert notebook.value("made.prompt") == "a harbour, 7 boats"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("%fooocus --guidance-scal 7 a cat", "Did you mean '--guidance-scale'?"),
        ("%%fooocus --sampler eulr\na cat", "'euler'?"),
        ("%%fooocus --guidance-scale 99\na cat", "to 30"),
        ("%%fooocus --steps 3 --overwrite-step 4\na cat", "given twice"),
        ("%%fooocus --sampler\na cat", "--sampler needs a value"),
        ("%fooocus strat", "Did you mean start?"),
        ("%fooocus strat --demo", "Did you mean start?"),
        ("%fooocus --seed {sed} a cat", "no variable 'sed'"),
        ("# a comment\n\n%%fooocus\na cat", "must be the first line of its cell"),
        ("%fooocus help strat", "Did you mean 'start'?"),
        ("%fooocus --cfg 7 a cat", "Did you mean '--guidance-scale'?"),
        ("%%fooocus --guidance 7\na cat", "Did you mean '--guidance-scale'?"),
        ("%fooocus --ar 16:9 a cat", "Did you mean '--aspect-ratio'?"),
        ("%fooocus --checkpoint x a cat", "Did you mean '--base-model'?"),
        ("%fooocus --num 2 a cat", "Did you mean '--image-number'?"),
        ("%fooocus --refiner None a cat", "Did you mean '--refiner-model'?"),
        ("%fooocus -sampler euler a cat", "Did you mean '--sampler'?"),
        ("%%fooocus -sampler euler\na cat", "Did you mean '--sampler'?"),
        ("%%fooocus -output r\na cat", "Did you mean '--output'?"),
        ("%fooocus --gpu 1 a cat", "no option '--gpu'. %fooocus --help"),
        ("%%fooocus seed=3\na cat", "Did you mean '--seed'?"),
        ("%fooocus --set nosuch=3 a cat", "%fooocus params shows them all"),
        ("%fooocus status demo", "Did you mean '--name demo'?"),
        ("%fooocus stop all", "Did you mean '--all'?"),
        ("%fooocus --size 0x64 a cat", "no size such as"),
        ("%fooocus strat?", "Did you mean start?"),
        ("%fooocus start --demo --path x", "--demo starts the bundled demo engine, so --path and"),
        ("%fooocus start --demo --keep --new", "--new and --keep contradict each other"),
        ("%fooocus start --demo --auth me", "give it as USER:SECRET"),
        ("%fooocus start --demo --name demo", "choose another --name."),
        ("%load_ext fooocus_nb\n%%fooocus\na cat", "must be the first line of its cell"),
        ("import os\n\n%%fooocus --seed 3\na cat", "must be the first line of its cell"),
        ("%%time\n# a comment\n%%fooocus\na cat", "must be the first line of its cell"),
        ("for _ in range(2):\n    %%fooocus\n    a cat", "must be the first line of its cell"),
        ("  %%fooocus\na cat", "with no blanks before it"),
    ],
)
def test_mistakes_are_told(notebook, code, said):
    cell = notebook.run(code, fails=True)
    assert said in told(cell)
    assert "fooocus_nb/" not in told(cell)


def test_names_of_variables_are_expanded_in_options(notebook):
    notebook.run("seed, style, here = 41, 'SAI Anime', '96x64'")
    notebook.run("%%fooocus --seed {seed} --style $style --size {here} -n 1 --steps 1 -o r\n{seed}")
    assert notebook.value("[r.seed, r.parameters['style_selections'], r.prompt]") == [
        41, ["SAI Anime"], "{seed}",
    ]  # fmt: skip
    line = "%fooocus --seed $seed --negative '{style} $style' --size $here -n 1 --steps 1 -o r"
    notebook.run(f"{line} $seed and {{seed}}")
    assert notebook.value("[r.seed, r.prompt]") == [41, "$seed and {seed}"]
    assert notebook.value("r.parameters['negative_prompt']") == "{style} $style"
    lines = notebook.run("few = 2\n%fooocus logs -n {few}").text.splitlines()
    assert len(lines) <= 2


def test_only_plain_names_are_expanded():
    variables = {"seed": 7, "path": "/x", "many": [1]}
    for text in ("{seed+1}", "{seed.real}", "{many[0]}", "{__import__('os')}", "$(seed)", "{}"):
        options = parse_generate_line(f'--set name="{text}" x', variables=variables)
        assert options.settings == (("name", text),)
    options = parse_verb_line(
        "start", "--path $path/$HOME -- --x {seed} {{seed}} $$seed", variables
    )
    assert options.path == "/x/$HOME"
    assert options.flags == ("--x", "7", "{seed}", "$seed")
    assert parse_cell_line("vary {path}", "x", variables).known.image == "/x"
    with pytest.raises(UsageError, match="'many' is of type list"):
        parse_generate_line("--seed {many} x", variables=variables)


@pytest.mark.parametrize(
    "options",
    [
        '--negative "{seed} $seed"', '--negative-prompt="{seed} $seed"',
        '--negative_prompt "{seed} $seed"', '--Negative-Prompt "{seed} $seed"',
        '--set negative_prompt="{seed} $seed"', '--set "negative-prompt={seed} $seed"',
        '--inpaint-additional-prompt "{seed} $seed"', '--enhance-1-prompt "{seed} $seed"',
        '--sweep "prompt={seed} $seed" --run x',
        '--sweep "enhance_1_negative_prompt={seed} $seed" --run x',
    ],
)  # fmt: skip
def test_no_prompt_is_expanded_however_it_is_given(options):
    for found in (
        parse_generate_line(f"{options} a cat", variables={"seed": 7}),
        parse_cell_line(options, "a cat", {"seed": 7}),
    ):
        others = [*found.settings, *found.others, ("", str(found.parameters))]
        given = [*found.sweeps, *(str(value) for _, value in others)]
        (value,) = [text for text in given if "{seed} $seed" in text]
        assert "7" not in value


def test_images_and_what_is_no_prompt_are_expanded():
    options = "--image-prompt {path} --sampler $name --set vae={name}"
    found = parse_cell_line(options, "a cat", {"path": "/x.png", "name": "euler"})
    assert found.known.image_prompts == ["/x.png"]
    assert found.others == (("--sampler", "euler"),)
    assert found.settings == (("vae", "euler"),)


def test_a_pattern_of_file_names_keeps_its_braces():
    for line in ("start --names '{date}/{seed}' --name $who", "start --names={date}/{seed}"):
        verb, rest = split_verb(line)
        options = parse_verb_line(verb, rest, {"seed": 7, "who": "x"})
        assert options.names == "{date}/{seed}"


def test_no_error_repeats_a_login():
    for line in ("--auth 'me:s3cret{no}'", "--auth='me:s3cret{no}'"):
        with pytest.raises(UsageError, match="no variable 'no'") as raised:
            parse_verb_line("start", line, {})
        assert "s3cret" not in str(raised.value)
    assert parse_verb_line("start", "--auth 'me:{word}'", {"word": "x"}).auth == "me:x"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ("-n2", 2), ("-n 2", 2), ("-n=2", 2), ("--images=2", 2),
        ("--style SAI\\ Anime", "SAI Anime"), ("--style='SAI Anime'", "SAI Anime"),
        ('--style "a \\"b\\""', 'a "b"'), ("--seed\u00a03", "3"),
        ("--seed -1", "-1"), ("--size 64X96", 96), ("--size '64 * 96'", 96), ("--size 64×96", 96),
        ("--set guidance-scale=3", ("guidance_scale", "3")), ('--set "a = 3"', ("a", "3")),
    ],
)  # fmt: skip
def test_a_line_and_a_cell_read_options_alike(options, value):
    line, cell = parse_generate_line(f"{options} a cat"), parse_cell_line(options, "a cat")
    assert (line.prompt, line.parameters) == ("a cat", cell.parameters)
    assert line.settings == cell.settings
    found = [*line.parameters.values(), *line.settings]
    assert value in found or [value] in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--portable=yes a cat", "--portable"),
        ('--sampler "euler a cat', "No closing quotation"),
        ("--sampler euler", "'euler' was taken for the value of --sampler"),
        ("a cat -n 2", "options come before the prompt, but -n"),
        ("a cat -n2", "options come before the prompt, but -n2"),
        ("a cat -o result", "options come before the prompt, but -o"),
        ("a cat \u2014seed 3", "the option is --seed"),
        ("\u2014seed 3 a cat", "the option is --seed"),
        ("\u2013-sampler euler a cat", "the option is --sampler"),
        ("--style \u201cSAI Anime\u201d a cat", "quotes do not hold"),
    ],
)
def test_slips_in_options_draw_nothing(line, said):
    with pytest.raises(UsageError, match=said):
        parse_generate_line(line)


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat - a dog",
        "a cat \u2014 in fog",
        "a boat\u2014red",
        "8-bit -ish",
        "a -nice cat",
        "\u201cyes\u201d",
    ],
)
def test_dashes_and_quotes_of_prose_are_drawn(prompt):
    assert parse_generate_line(prompt).prompt == prompt
    assert parse_generate_line(f"-- {prompt} -n 2 --seed").prompt == f"{prompt} -n 2 --seed"


def test_typographic_quotes_are_text_in_quotes_that_hold_a_value():
    for value in ("\u00ab", "\u201cred\u201d", "say \u201cred\u201d"):
        assert parse_generate_line(f"--negative '{value}' a cat").parameters == {
            "negative_prompt": value
        }
        assert parse_cell_line(f"--negative '{value}'", "a cat").parameters == {
            "negative_prompt": value
        }


def test_the_line_end_of_a_cell_is_no_part_of_the_prompt():
    assert parse_cell_line("", "a cat\r\n").prompt == "a cat"
    assert parse_cell_line("", "a cat\n").prompt == "a cat"
    assert parse_cell_line("", "  a cat\n\nin fog \n").prompt == "  a cat\n\nin fog "


def test_styles_with_commas(notebook):
    for given in ("--style 'SAI Anime, Fooocus V2'", "--style 'sai anime' --style 'Fooocus V2'",
                  "--styles 'SAI Anime,Fooocus V2'"):  # fmt: skip
        notebook.run(f"%%fooocus {SIZE} {given} -o r\na cat")
        assert notebook.value("r.parameters['style_selections']") == ["SAI Anime", "Fooocus V2"]


@pytest.mark.parametrize("line", ["help", "--help", "-h", " ?", " ??"])
def test_help_shows_all_verbs(notebook, line):
    shown = notebook.run(f"%fooocus {line}").shown
    assert all(f"%fooocus {verb} " in shown for verb in verbs.names())
    assert "--repeat" in shown


@pytest.mark.parametrize(
    "code",
    [
        "%fooocus start --help",
        "%fooocus start?",
        "%fooocus start??",
        "%fooocus start -h",
        "%fooocus help start",
        "%fooocus --help start",
    ],
)
def test_help_for_one_verb(notebook, code):
    (bundle,) = notebook.run(code).bundles
    assert "--idle-timeout" in bundle["text/plain"]
    assert "--idle-timeout" in bundle["text/html"]
    assert "%fooocus vary" not in bundle["text/plain"]


def test_help_for_generating_verbs(notebook):
    assert "--strength" in notebook.run("%fooocus vary --help").shown
    assert "--guidance-scale" in notebook.run("%%fooocus --help\na cat").shown


def test_a_question_mark_behind_the_magic_lists_the_verbs(notebook):
    message = notebook.client.execute_interactive("%fooocus?", timeout=60)
    (page,) = message["content"]["payload"]
    text = page["data"]["text/plain"]
    assert "%fooocus start" in text
    assert "--repeat" in text


@pytest.mark.parametrize(
    ("word", "verb"),
    [("strat", "start"), ("sttus", "status"), ("stpo", "stop"), ("hlep", "help"),
     ("restrat", "restart"), ("conect", "connect"), ("gallry", "gallery"), ("Stop", "stop")],
)  # fmt: skip
def test_one_word_near_a_verb_asks(word, verb):
    with pytest.raises(UsageError, match=f"Did you mean {verb}?"):
        split_verb(word)
    assert split_verb(f"{word} in a garden") == ("generate", f"{word} in a garden")
    assert split_verb(f"generate {word}") == ("generate", word)


@pytest.mark.parametrize(
    ("line", "verb"),
    [("conect http://127.0.0.1:7865", "connect"), ("instal ~/Fooocus", "install"),
     ("upscal photo.png --by 2x", "upscale"), ("vray result[0]", "vary"),
     ("descibe {path}", "describe"), ("lgos 20", "logs"), ("gallry ./outputs", "gallery")],
)  # fmt: skip
def test_a_mistyped_verb_with_what_it_takes_asks(line, verb):
    with pytest.raises(UsageError, match=f"Did you mean {verb}?"):
        split_verb(line)


@pytest.mark.parametrize(
    "word", ["cat", "dogs", "lighthouse", "灯塔", "mountain", "helm", "statue", "sunset"]
)
def test_one_word_that_is_no_verb_is_a_prompt(word):
    assert split_verb(word) == ("generate", word)


def test_every_verb_has_help_for_itself_and_its_options():
    for name in verbs.names():
        assert verbs.verb(name).help
        assert all(text for _, text in verbs.parser(name).rows()), name


def test_what_is_advised_is_in_the_language_of_its_reader(notebook):
    error = EngineStopped("x", remedy="engine.restart() starts it again.")
    assert "engine.restart()" in str(error)
    assert in_words_of("magic", str(error)) == "x\n%fooocus restart starts it again."
    advice = "If it is whole: fooocus-nb doctor --restore. fooocus-nb doctor tells."
    assert in_words_of("shell", advice) == advice
    assert in_words_of("magic", advice) == advice.replace("fooocus-nb", "%fooocus")
    assert "fooocus-nb" not in in_words_of("python", advice)
    named = "Name it with python=, or give another folder, or mix=True: timeout=3 was too short."
    assert in_words_of("python", named) == named
    for reader in ("magic", "shell"):
        assert in_words_of(reader, named) == named.replace("python=", "--python").replace(
            "mix=True", "--mix"
        )
    login = 'Give auth=("user", "secret").'
    assert in_words_of("magic", login) == "Give --auth user:secret."
    assert in_words_of("shell", login) == "Give --auth user."
    advice = (
        "Start it with args=['--vae-in-fp32', '--all-in-fp32'], env={'A': '1', 'B': '2'}, another "
        "python=, and gpu=. A folder_path= and path='x' are none of these; nor is env=1."
    )
    assert in_words_of("python", advice) == advice
    assert in_words_of("magic", advice) == (
        "Start it with -- --vae-in-fp32 --all-in-fp32, %env A=1 and %env B=2 in a cell before it, "
        "another --python, and --gpu. A folder_path= and path='x' are none of these; nor is env=1."
    )
    assert in_words_of("shell", advice) == (
        "Start it with --flags='--vae-in-fp32 --all-in-fp32', A=1 B=2 before the command, another "
        "--python, and --gpu. A folder_path= and path='x' are none of these; nor is env=1."
    )
    advice = "demo=True starts it. Correct args=; share=False and lifetime='detached' contradict."
    assert in_words_of("magic", advice) == (
        "--demo starts it. Correct the flags behind --; --new and --keep contradict."
    )
    advice = "engine.stop() there. See engine.parameters. engine.wait_ready() waits for that."
    assert in_words_of("python", advice) == advice
    assert "engine." not in in_words_of("magic", advice)
    notebook.run("%fooocus start --demo --name other")
    notebook.run("%fooocus stop --name other")
    below = told(notebook.run("%fooocus --name other a cat", fails=True))
    assert "%fooocus restart" in below
    assert "engine.restart" not in below
    python = told(
        notebook.run("import fooocus_nb; fooocus_nb.get('other').generate('a cat')", fails=True)
    )
    assert "engine.restart()" in python
    assert "stopped or detached before" in notebook.run("%fooocus stop --name other").text


def test_a_loop_leaves_one_line(notebook):
    cell = notebook.run(
        "import fooocus_nb; engine = fooocus_nb.get('demo')\n"
        "results = [engine.generate('a cat', image_number=1, steps=1, width=96, height=64)\n"
        "           for _ in range(4)]"
    )
    (note,) = cell.bundles
    assert note["text/plain"].startswith("4 images (")
    once = notebook.run(
        "result = engine.generate('a cat', image_number=1, steps=1, width=96, height=64)"
    )
    assert once.shown.startswith("1 image (")
    assert cell.bundles == [note]


def test_a_failure_in_a_loop_has_a_line_of_its_own(notebook):
    cell = notebook.run(
        "small = dict(image_number=1, steps=1, width=96, height=64)\n"
        "first = engine.generate('a cat', **small)\n"
        "try:\n    engine.generate('a cat', sharpness=99, **small)\n"
        "except fooocus_nb.ParameterError: pass\n"
        "second = engine.generate('a cat', **small)"
    )
    assert cell.shown.startswith("2 images (")


@pytest.mark.slow
def test_all_engines_of_the_kernel_stop_together(new_notebook):
    notebook = new_notebook(FOOOCUS_DEMO_STEP_SECONDS="0")
    assert "No engine runs" in notebook.run("%fooocus stop --all").text
    notebook.run("%fooocus start --demo\n%fooocus start --demo --name second")
    text = notebook.run("%fooocus stop --all").text
    assert "demo is stopped" in text
    assert "second is stopped" in text


def test_captions_say_what_was_varied(notebook):
    notebook.run(
        "from fooocus_nb import Result\n"
        "small = dict(image_number=2, steps=1, width=96, height=64)\n"
        "made = [engine.generate('a cat', guidance_scale=g, styles='SAI Anime', **small)\n"
        "        for g in (3, 7.5)]"
    )
    (bundle,) = [b for b in notebook.run("Result.combined(made)").bundles if "text/html" in b]
    for value in ("guidance_scale=3.0", "guidance_scale=7.5"):
        assert bundle["text/html"].count(value) == 2
        assert bundle["text/plain"].count(value) == 2
    assert "style_selections=" not in bundle["text/html"]
    (plain,) = notebook.run("made[0]").bundles
    assert "guidance_scale=" not in plain["text/html"]


@pytest.mark.skipif(
    not hasattr(completer, "context_matcher"), reason="matchers came with IPython 8.6"
)
def test_completion_of_parameters_as_options(notebook):
    assert "euler" in notebook.complete("%fooocus --sampler eul")
    assert "--guidance-scale" in notebook.complete("%fooocus --guid")
    assert "start" in notebook.complete("%fooocus help sta")


def test_completion_of_the_package_shows_public_names_only(notebook):
    import fooocus_nb

    notebook.run("import fooocus_nb")
    found = {name.rpartition(".")[2] for name in notebook.complete("fooocus_nb.")}
    assert {"start", "engines", "doctor"} <= found
    assert not found - set(fooocus_nb.__all__)
