"""Rules for failures of pip, Python and packages: one part of the table in `rules`."""

from __future__ import annotations

from fooocus_nb.errors import MissingDependency, NetworkError, StartError, WrongInterpreter
from fooocus_nb.fooocus.logs._rule_builders import all_of, exception_rule, rule

__all__ = ["PACKAGES", "PIP_OS", "RIGHT_PYTHON", "WEB_PACKAGES"]

REQUIREMENTS = "requirements_versions.txt"
RIGHT_PYTHON = (
    "Name the interpreter that Fooocus is installed in with python=. Fooocus wants Python 3.10 or "
    "3.11, in an environment of its own with its own requirements_versions.txt."
)
PIP_OS = r"^ERROR: Could not install packages due to an (?:OS|Environment)Error: "

_OTHER_VERSION = (
    f"Install the version of {{package}} that the checkout's {REQUIREMENTS} names; where it names "
    "none, an older one, from the time of that Fooocus. Or name an environment with python= that "
    "has it."
)

#: `triton`, which no Fooocus needs, is missed loudly wherever there is none for the system.
PACKAGES = (
    rule(
        "pip has other releases",
        r"^ERROR: Could not find a version that satisfies the requirement (?P<package>[^\s(]+)"
        r".*\(from versions: (?!none)",
        WrongInterpreter,
        "pip finds no {package} for the engine's Python, only other versions.",
        f"It was never made for this Python. {RIGHT_PYTHON}",
        "ERROR: Could not find a version that satisfies the requirement torch==2.1.0 "
        "(from versions: 2.6.0, 2.7.0)",
        group="pip",
    ),
    rule(
        "pip had no network",
        rf"{PIP_OS}.*(?:HTTPS?Connection|Max retries|timed out|SSL|ProxyError)"
        r"|^ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"
        r"|^(?:WARNING: Retrying|pip\._vendor\.\S+(?:Timeout|Connection|Protocol|SSL)\w*Error)",
        NetworkError,
        "pip could not download Fooocus's packages.",
        "Check the network or proxy, and start it again; PIP_INDEX_URL in env= names a mirror.",
        "ERROR: Could not install packages due to an OSError: HTTPSConnectionPool("
        "host='files.pythonhosted.org', port=443): Max retries exceeded",
        group="pip",
    ),
    rule(
        "no pip release",
        r"^ERROR: (?:No matching distribution found for|Could not find a version that satisfies "
        r"the requirement) (?P<package>[^\s(]+)",
        WrongInterpreter,
        "pip finds no {package} for the engine's Python.",
        f"{RIGHT_PYTHON} Where the version is right, pip had no network.",
        "ERROR: No matching distribution found for torch==2.1.0",
        group="pip",
    ),
    rule(
        "package for another Python",
        r"^ERROR: (?:Package '?(?P<package>[\w.-]+)'? requires a different Python"
        r"|Ignored the following versions that require a different python)"
        r"|^ERROR: (?P<wheel>\S+\.whl) is not a supported wheel on this platform",
        WrongInterpreter,
        "A package that Fooocus wants was made for another version of Python: {what}",
        RIGHT_PYTHON,
        "ERROR: Package 'x' requires a different Python: 3.9.6 not in '>=3.10'",
        group="pip",
    ),
    rule(
        "package cannot be built",
        r"^\s*(?:error: (?:metadata-generation-failed|legacy-install-failure|failed-"
        r"|subprocess-exited-with-error|Microsoft Visual C\+\+|command ')"
        r"|ERROR: (?:Failed (?:building|to build)|Could not build wheels|Failed cleaning build)"
        r"|.{0,9}Encountered error while (?:generating package metadata|trying to install))",
        WrongInterpreter,
        "pip could not build a package for the engine's Python: there is no ready one for this "
        "version.",
        RIGHT_PYTHON,
        "error: metadata-generation-failed",
        group="pip",
    ),
    rule(
        "system Python",
        r"^error: externally-managed-environment|^ERROR: Cannot uninstall",
        WrongInterpreter,
        "The engine's Python belongs to the operating system, which lets nothing be installed.",
        RIGHT_PYTHON,
        "error: externally-managed-environment",
        group="pip",
    ),
    rule(
        "pip may not write",
        rf"{PIP_OS}\[(?:Errno (?:1|13|30)|WinError (?:5|32))\]",
        WrongInterpreter,
        "pip may not write into the engine's Python: {what}",
        f"{RIGHT_PYTHON} On Windows, end the programs that use this one.",
        "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/usr'",
        group="pip",
    ),
    rule(
        "environment damaged",
        rf"{PIP_OS}|^ERROR: (?:ResolutionImpossible|Cannot install .* conflicting)",
        WrongInterpreter,
        "pip could not install Fooocus's packages into this environment: {what}",
        f"The environment is damaged, or holds other programs' packages: make a new one. "
        f"{RIGHT_PYTHON}",
        "ERROR: Could not install packages due to an OSError: [Errno 2] No such file or directory: "
        "'/opt/conda/lib/python3.10/site-packages/x.dist-info/METADATA'",
        group="pip",
    ),
    rule(
        "checkout incomplete",
        r"^(?:ModuleNotFoundError: No module named '|ImportError: cannot import name '\w+' from ')"
        r"(?P<module>(?:modules|ldm_patched|extras|sdxl_styles|args_manager|fooocus_version"
        r"|fooocusui|webui|shared)\b[\w.]*)",
        StartError,
        "The checkout lacks its own module {module}, or a part of it.",
        "Get it anew with: git clone https://github.com/lllyasviel/Fooocus",
        "ModuleNotFoundError: No module named 'ldm_patched.modules'",
    ),
    rule(
        "Python too new",
        r"^(?:ModuleNotFoundError: No module named '(?:distutils|imp|cgi|telnetlib|audioop|pipes)\b"
        r"|AttributeError: module '(?:pkgutil|collections|inspect|asyncio|ast"
        r"|typing)' has no attribute"
        r"|ImportError: cannot import name '\w+' from '(?:collections|inspect|asyncio|typing)')",
        WrongInterpreter,
        "Fooocus does not run on this version of Python.",
        RIGHT_PYTHON,
        "AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: "
        "'zipimporter'?",
    ),
    rule(
        "Python too old",
        r"^(?:TypeError: (?:unsupported operand type\(s\) for \|: '(?:type|NoneType|types\.|_"
        r"|ABCMeta)"
        r"|'(?:type|ABCMeta|function)' object is not subscriptable"
        r"|\w*\(?\)? ?(?:got an unexpected keyword argument '(?:slots|kw_only|strict)'"
        r"|takes no keyword arguments)|dataclass\(\) got an unexpected keyword)"
        r"|AttributeError: '(?:str|int|dict)' object has no attribute '(?:removeprefix|removesuffix"
        r"|bit_count)'|SyntaxError:)",
        WrongInterpreter,
        "Fooocus does not run on this version of Python: {what}",
        RIGHT_PYTHON,
        "TypeError: unsupported operand type(s) for |: 'types.GenericAlias' and 'type'",
    ),
    exception_rule(
        "numpy of another version",
        all_of(
            r"\bnumpy|multiarray|_ARRAY_API",
            r"failed to import|_ARRAY_API|ufunc|compiled (?:using|against|with)|not available"
            r"|binary incompat"
            r"|size changed|has no attribute|was removed|cannot import|named '?numpy\."
            r"|initialization",
            kinds=r"ImportError|ModuleNotFoundError|AttributeError|RuntimeError|ValueError|SystemError",
        ),
        WrongInterpreter,
        "A package of the engine's Python does not fit its numpy: {what}",
        "Into the engine's environment, install the numpy that the checkout's "
        f"{REQUIREMENTS} names (python -m pip install 'numpy<2'). If cupy is named, which Fooocus "
        "does not need, remove it.",
        "ImportError: numpy.core.multiarray failed to import",
    ),
    rule(
        "module of another version",
        r"^ModuleNotFoundError: No module named '(?!google\.|ruamel\.)(?P<package>\w+)\.[\w.]+'",
        WrongInterpreter,
        "The engine's Python has another {package} than Fooocus needs: {what}",
        _OTHER_VERSION,
        "ModuleNotFoundError: No module named 'torchvision.transforms.functional_tensor'",
        follows=("pip",),
        afterwards="That brings the right {package}, too.",
    ),
    rule(
        "module missing",
        r"^(?:ModuleNotFoundError: (?:No module named '(?!triton\b)|import of )|(?:/\S*|[A-Z]:\\\S*"
        r"|python\S*): "
        r"No module named '?)(?P<module>[\w.]+)",
        MissingDependency,
        "The engine's Python has no module {module!r}.",
        "Is it the interpreter that Fooocus was installed in? Name the right one with python=, or "
        "install what it lacks ({module}), best with all of Fooocus's requirements, into this one.",
        "ModuleNotFoundError: No module named 'torch'",
        follows=("pip",),
        afterwards="That brings {module}, too.",
    ),
    rule(
        "system library missing",
        r"^(?:ImportError|OSError): (?P<library>lib[\w.+-]+\.so[\w.]*): cannot open shared object",
        MissingDependency,
        "The system has no {library}, which a package of the engine needs.",
        "Install it: libGL and libgthread come with apt install libgl1 libglib2.0-0; the CUDA "
        "libraries come with PyTorch.",
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
    ),
    rule(
        "CUDA library missing",
        r"^(?:Could not load library|Unable to load any of .*?) (?P<library>\S+?)\.? ?Error",
        MissingDependency,
        "A library that PyTorch needs for the GPU cannot be loaded: {library}",
        "Install PyTorch anew into the engine's environment: it brings its CUDA libraries. A "
        "LD_LIBRARY_PATH that names others has to go: env={{'LD_LIBRARY_PATH': ''}}.",
        "Could not load library libcudnn_cnn_infer.so.8. Error: libcuda.so: cannot open shared "
        "object file",
        group="crash",
    ),
    rule(
        "Windows library missing",
        r"^(?:\w+\.)*(?:OSError|FileNotFoundError|ImportError): (?:\[WinError (?:126|127|182|193"
        r"|1114)\]"
        r"|DLL load failed|Could not find module '.*\.dll)",
        MissingDependency,
        "A library of a package of the engine cannot be loaded: {what}",
        "Install Microsoft's Visual C++ Redistributable for x64. If it was there, the package does "
        f"not fit this Python: {RIGHT_PYTHON}",
        'OSError: [WinError 126] The specified module could not be found. Error loading "c10.dll"',
    ),
    rule(
        "package of another version",
        r"^(?:ImportError: cannot import name '\w+' from (?:partially initialized module )?'"
        r"|AttributeError: (?:partially initialized )?module ')(?P<package>\w+)",
        WrongInterpreter,
        "The engine's Python has another {package} than Fooocus and its packages need: {what}",
        _OTHER_VERSION,
        "ImportError: cannot import name 'cached_download' from 'huggingface_hub'",
    ),
    rule(
        "packages do not fit",
        r"^(?:ImportError: |(?:RuntimeError|NotImplementedError): (?:operator torchvision::"
        r"|Could not run 'torchvision::|Failed to import )|ValueError: This ORT build has "
        r"|TypeError: (?:\w+\.)*__init__\(\) got an unexpected keyword argument)",
        WrongInterpreter,
        "A package of the engine's Python does not fit the others or this Python version: {what}",
        RIGHT_PYTHON,
        "RuntimeError: operator torchvision::nms does not exist",
    ),
)

#: No failure of its own: a page that fails is the cause where the engine does not find its page.
WEB_PACKAGES = exception_rule(
    "web packages do not fit",
    r"^(?P<what>.{0,300})",
    WrongInterpreter,
    "The engine's web page fails ({what}): its web packages do not fit its gradio.",
    "A gradio of version 3 does not name the versions of the packages that it needs. Into the "
    "engine's environment, install older ones: python -m pip install 'starlette<1' 'fastapi<0.113' "
    "'pydantic<2.11'.",
    "TypeError: unhashable type: 'dict'",
    where=r"[\\/](?:gradio|gradio_client|starlette|fastapi|pydantic\w*|jinja2|uvicorn|anyio)[\\/]",
    group="web",
)
