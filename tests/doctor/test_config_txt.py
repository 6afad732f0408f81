"""What is said about a config.txt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fooocus_nb.fooocus.checkout.config_txt import read_settings
from fooocus_nb.fooocus.checkout.downloads import find_downloads

from ..lanes import examples

if TYPE_CHECKING:
    from pathlib import Path


def problems(checkout: Path, text: str | bytes) -> list[tuple[str, str, bool]]:
    data = text.encode() if isinstance(text, str) else text
    (checkout / "config.txt").write_bytes(data)
    found = read_settings(checkout).problems
    return [(problem.text, problem.advice, problem.serious) for problem in found]


def test_what_a_version_knows_is_read_from_its_source(checkout: Path) -> None:
    known = read_settings(checkout).known
    assert set(known) == {
        "checkpoint_downloads", "computed", "default_cfg", "default_flag", "default_model",
        "default_steps", "default_styles", "path_checkpoints", "path_loras", "path_outputs",
    }  # fmt: skip
    assert known["default_steps"].types == (int,)
    assert known["default_cfg"].types == (int, float)
    assert known["computed"].types == ()
    assert known["path_outputs"].made
    assert not known["path_loras"].made


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ('{"a": 1,}', "line 1", "comma before the last brace"),
        (r'{"path_outputs": "D:\models"}', "escape", "written twice"),
        ('{"a": 1 "b": 2}', "column 9", "comma missing"),
        ("", "does not parse", "line 1"),
        ("[1, 2]", "no object", "begins with {"),
        (b"\xff\xfe{}", "cannot be read", "UTF-8"),
        ("\ufeff{}", "does not parse", "byte order mark"),
        ("[" * 5000 + "]" * 5000, "", ""),
    ],
)
def test_what_does_not_parse_is_serious(checkout: Path, text, said: str, advice: str) -> None:
    ((found, what_to_do, serious),) = problems(checkout, text)
    assert serious
    assert said in found
    assert advice in what_to_do


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"default_step": 3}, "Did you mean 'default_steps'?"),
        ({"default_steps": "many"}, "should be a whole number"),
        ({"default_steps": True}, "should be a whole number"),
        ({"default_steps": 1.5}, "should be a whole number"),
        ({"default_flag": "yes"}, "should be true or false"),
        ({"default_cfg": [7]}, "should be a whole number or a number"),
        ({"default_styles": "a"}, "should be a list"),
        ({"checkpoint_downloads": []}, "should be an object"),
        ({"path_loras": "gone"}, "'gone', which is no folder"),
        ({"path_loras": ["models/loras", "gone"]}, "'gone', which is no folder"),
        ({"path_loras": 3}, "should be a folder"),
        ({"path_loras": [3]}, "should be a folder"),
        ({"path_loras": "a\0b"}, "no folder"),
    ],
)
def test_what_is_wrong_with_a_value(checkout: Path, values, said: str) -> None:
    ((found, advice, serious),) = problems(checkout, json.dumps(values))
    assert said in found
    assert advice
    assert not serious


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"default_steps": 3, "default_cfg": 4, "default_flag": True, "computed": "anything"},
        {"default_model": None},
        {"default_model": ""},
        {"path_loras": ["models/loras", "models"]},
        {"path_checkpoints": "models"},
        {"path_outputs": "will/be/made"},
    ],
)
def test_what_is_fine(checkout: Path, values) -> None:
    assert problems(checkout, json.dumps(values)) == []


LIMITED = """
values = {}

def read(key, default_value, validator=None, expected_type=None):
    return values.get(key, default_value)

number = read(key='number', default_value=2, validator=lambda n: isinstance(n, int) and 1 <= n <= 9)
share = read(key='share', default_value=0.5, validator=lambda x: 0 <= x)
sampler = read(key='sampler', default_value='euler', validator=lambda x: x in flags.SAMPLERS)
scheme = read(key='scheme', default_value='a', validator=lambda x: x in ['a', 'b'])
other = read(key='other', default_value='a', validator=lambda x: x in flags.computed())
"""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"number": 0}, "from 1 to 9"),
        ({"number": 33}, "from 1 to 9"),
        ({"share": -0.1}, "at least 0"),
        ({"sampler": "eular"}, "Did you mean 'euler'?"),
        ({"scheme": "c"}, "one of 'a', 'b'"),
        ({"number": 9, "share": 9, "sampler": "dpm", "scheme": "b", "other": "anything"}, ""),
        ({"sampler": None, "scheme": ""}, ""),
    ],
)
def test_what_a_value_may_be_is_read_from_the_source(checkout: Path, values, said: str) -> None:
    (checkout / "modules/config.py").write_text(LIMITED)
    (checkout / "modules/flags.py").write_text("SAMPLERS = ['euler', 'dpm']\ncomputed = list\n")
    found = problems(checkout, json.dumps(values))
    assert len(found) == bool(said)
    assert all(said in text and not serious for text, _, serious in found)


#: In the manner of 2.5: lists are put together, choices are classes of constants, and later
#: settings depend on earlier ones.
FLAGS = """
from enum import Enum

KSAMPLER = {"euler": "Euler", "lms": "LMS"}
SAMPLER_EXTRA = {"ddim": "DDIM"}
SAMPLERS = KSAMPLER | SAMPLER_EXTRA
KSAMPLER_NAMES = list(KSAMPLER.keys())
sampler_list = KSAMPLER_NAMES + list(SAMPLER_EXTRA.keys())
schemes = [("Fooocus (json)", "fooocus"), ("A1111 (plain text)", "a1111")]
most = 12

class OutputFormat(Enum):
    PNG = 'png'
    JPEG = 'jpeg'

    @classmethod
    def list(cls) -> list:
        return list(map(lambda c: c.value, cls))

class Performance(Enum):
    SPEED = 'Speed'
    FAST = 'Extreme Speed'

    @classmethod
    def values(cls) -> list:
        return list(map(lambda c: c.value, cls))
"""
STYLES = """
styles = {}
plain = 'Plain V2'
legal_style_names = [plain] + list(styles.keys())
"""
COMPUTED = """
import modules.flags
from modules.flags import OutputFormat, Performance
config = {}

def from_environment(key, default_value):
    return os.getenv(key)

def read(key, default_value, validator, disable_empty_as_none=False, expected_type=None):
    return config.get(key, default_value)

config_path = from_environment('config_path', 'config.txt')
sampler = read(key='sampler', default_value='euler',
               validator=lambda x: x in modules.flags.sampler_list, expected_type=str)
form = read(key='form', default_value='png', validator=lambda x: x in OutputFormat.list())
speed = read(key='speed', default_value=Performance.SPEED.value,
             validator=lambda x: x in Performance.values(), expected_type=str)
scheme = read(key='scheme', default_value='fooocus',
              validator=lambda x: x in [y[1] for y in modules.flags.schemes if y[1] == x])
most_images = read(key='most_images', default_value=32,
                   validator=lambda x: isinstance(x, int) and x >= 1)
images = read(key='images', default_value=2,
              validator=lambda x: isinstance(x, int) and 1 <= x <= most_images)
skip = read(key='skip', default_value=2,
            validator=lambda x: isinstance(x, int) and 1 <= x <= modules.flags.most)
sizes = read(key='sizes', default_value=['1*1', '2*2'],
             validator=lambda x: isinstance(x, list) and all('*' in v for v in x) and len(x) > 1)
size = read(key='size', default_value='1*1', validator=lambda x: x in sizes)
loras = read(key='loras', default_value=[[True, 'None', 1.0]],
             validator=lambda x: isinstance(x, list) and all(
                 len(y) == 3 and isinstance(y[0], bool) or len(y) == 2 and isinstance(y[0], str)
                 for y in x), expected_type=list)
styles = read(key='styles', default_value=['Plain V2'], validator=lambda x: isinstance(x, list)
              and all(y in modules.sdxl_styles.legal_style_names for y in x))
downloads = read(key='downloads', default_value={}, validator=lambda x: isinstance(x, dict) and all(
    isinstance(k, str) and isinstance(v, str) for k, v in x.items()))
# Its type is a mistake of its author's, as some are.
tab = read(key='tab', default_value='uov', validator=lambda x: x in ['uov', 'ip'],
           expected_type=int)
kinds = read(key='kinds', default_value=['a'], validator=lambda x: all(k in ['a', 'b'] for k in x))
# A version may refuse its own default, as 2.5.0 does: what it wants is not known then.
odd = read(key='odd', default_value='vit_b', validator=lambda x: x in ['sam_vit_b'])
there = read(key='there', default_value='', validator=lambda x: os.path.exists(x))
for number in range(1, 5):
    read(key=f'image_{number}', default_value='None', validator=lambda x: True)
"""


@pytest.fixture
def computed(checkout: Path) -> Path:
    """A checkout whose settings say what they may be as those of 2.5 do."""
    (checkout / "modules/config.py").write_text(COMPUTED)
    (checkout / "modules/flags.py").write_text(FLAGS)
    (checkout / "modules/sdxl_styles.py").write_text(STYLES)
    (checkout / "sdxl_styles").mkdir()
    (checkout / "sdxl_styles/x.json").write_text('[{"name": "sai-anime", "prompt": ""}]')
    return checkout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sampler": "eular"}, "Did you mean 'euler'?"),
        ({"sampler": 3}, "one of 'euler', 'lms', 'ddim'"),
        ({"form": "jpg"}, "one of 'png', 'jpeg'"),
        ({"speed": "speed"}, "Did you mean 'Speed'?"),
        ({"scheme": "json"}, "like its default"),
        ({"images": 33}, "from 1 to 32"),
        ({"most_images": 0}, "at least 1"),
        ({"skip": 13}, "from 1 to 12"),
        ({"size": "1x1"}, "one of '1*1', '2*2'"),
        ({"sizes": ["3*3"]}, "like its default"),
        ({"loras": [["a", 1], ["b"]]}, 'without ["b"]'),
        ({"styles": ["SAI Anime", "Nothing"]}, 'without "Nothing"'),
        ({"downloads": {"a": 1}}, "like its default"),
        ({"tab": "upscale"}, "one of 'uov', 'ip'"),
        ({"kinds": ["c", "a"]}, 'without "c"'),
        ({"config_path": "x"}, "no setting 'config_path'"),
        ({"imags": 2}, "Did you mean 'images'?"),
    ],
)
def test_what_a_version_refuses_is_asked_of_its_own_validators(
    computed: Path, values, said: str
) -> None:
    ((found, advice, serious),) = problems(computed, json.dumps(values))
    assert said in found
    assert advice
    assert not serious


@pytest.mark.parametrize("values", [{"kinds": 3}, {"loras": [1]}, {"sizes": [1]}])
def test_what_its_validators_cannot_bear_keeps_a_version_from_starting(
    computed: Path, values
) -> None:
    ((_, advice, serious),) = problems(computed, json.dumps(values))
    assert "does not start" in advice
    assert serious


@pytest.mark.parametrize(
    "values",
    [
        {"sampler": "ddim", "form": "jpeg", "speed": "Extreme Speed", "scheme": "a1111"},
        {"most_images": 50, "images": 40},
        {"sizes": ["3*3", "4*4"], "size": "4*4"},
        {"loras": [["a", 1], [True, "b", 0.5]], "styles": ["Sai-Anime", "Plain V2"]},
        {"downloads": {"a": "b"}, "tab": "ip", "kinds": [], "image_3": "x.png"},
        {"there": "nowhere"},  # what the validator asks of the disk is not known
        {"sampler": None, "images": ""},
        {"odd": "vit_b"},
        {"odd": "sam_vit_b"},
    ],
)
def test_what_a_version_takes_is_fine(computed: Path, values) -> None:
    assert problems(computed, json.dumps(values)) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = [" * 500 + "]" * 500,
        "x = 'a'\n" + "x = x + x\n" * 100,
        "w = [1, 2, 3, 4, 5, 6, 7, 8, 9]\nx = [0 for a in w for b in w for c in w for d in w for e "
        "in w for f in w for g in w for h in w]",
        "x = (lambda f: f(f))(lambda f: f(f))",
        "x = __import__('os').system('false')",
        "class A(Enum):\n    B = open('/etc/passwd')\nx = list(A)[0].value",
    ],
)
def test_a_hostile_source_is_read_in_bounds_and_never_run(checkout: Path, source: str) -> None:
    reader = "def read(key, default, validator=None):\n    return t.get(key)\n"
    setting = "read('a', x, validator=lambda v: v in x)\n"
    (checkout / "modules/config.py").write_text(f"{source}\n{reader}{setting}")
    assert problems(checkout, '{"a": "b"}') == []


def test_a_name_that_is_there_twice(checkout: Path) -> None:
    ((found, _, serious),) = problems(checkout, '{"default_steps": 1, "default_steps": 2}')
    assert "twice" in found
    assert not serious


def test_where_the_source_does_not_tell_nothing_is_unknown(checkout: Path) -> None:
    (checkout / "modules/config.py").write_text("def (")
    assert problems(checkout, '{"anything": 1}') == []
    assert read_settings(checkout).folders("path_outputs") == []


def test_folders_are_taken_as_fooocus_takes_them(checkout: Path) -> None:
    default = [checkout / "models" / "loras"]
    assert read_settings(checkout).folders("path_loras") == default
    problems(checkout, '{"path_loras": "gone", "path_outputs": "elsewhere"}')
    settings = read_settings(checkout)
    assert settings.folders("path_loras") == default
    assert settings.folders("path_outputs") == [checkout / "elsewhere"]
    problems(checkout, '{"path_loras": ["models"]}')
    assert read_settings(checkout).folders("path_loras") == [checkout / "models"]


def test_another_config_may_be_named_by_the_environment(checkout: Path, monkeypatch) -> None:
    (checkout / "other.txt").write_text("{,}")
    monkeypatch.setenv("config_path", "other.txt")
    assert read_settings(checkout).problems[0].text.startswith("other.txt does not parse")


def test_a_preset_and_the_settings_lie_over_the_default(checkout: Path) -> None:
    (checkout / "config.txt").write_text('{"checkpoint_downloads": {"mine.pt": "https://a/b"}}')
    (checkout / "presets/fast.json").write_text('{"checkpoint_downloads": {"f.pt": "https://c"}}')
    named = {model.name for model in find_downloads(read_settings(checkout))}
    assert "mine.pt" in named
    assert "big.safetensors" not in named
    assert "never.pth" not in named  # a table of which nothing is downloaded
    fast = {model.name for model in find_downloads(read_settings(checkout), "fast")}
    assert "f.pt" in fast
    assert "mine.pt" not in fast


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(st.binary(max_size=60) | st.text(alphabet='{}[],:"ad10\\ \n', max_size=40).map(str.encode))
def test_any_config_is_looked_at_without_failing(checkout: Path, data: bytes) -> None:
    for text, advice, _ in problems(checkout, data):
        assert text
        assert advice
    find_downloads(read_settings(checkout))
