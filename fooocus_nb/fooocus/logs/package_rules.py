"""Rules for failures of pip, Python and packages: one part of the table in `rules`."""

from __future__ import annotations

import re
import sys

from fooocus_nb.errors import MissingDependency, NetworkError, StartError, WrongInterpreter
from fooocus_nb.fooocus.logs._rule_builders import all_of, exception_rule, rule

__all__ = [
    "PACKAGES",
    "PIP_OS",
    "RIGHT_PYTHON",
    "WEB_PACKAGES",
    "distribution_of",
    "with_distribution",
]

REQUIREMENTS = "requirements_versions.txt"
RIGHT_PYTHON = (
    "Name the interpreter that Fooocus is installed in with python=. Fooocus wants Python 3.10 or "
    "3.11, in an environment of its own with its own requirements_versions.txt."
)
PIP_OS = r"^ERROR: Could not install packages due to an (?:OS|Environment)Error: "

_OTHER_VERSION = (
    f"Install the version of {{distribution}} that the checkout's {REQUIREMENTS} names; where it "
    "names none, an older one, from the time of that Fooocus. Or name an environment with python= "
    "that has it."
)

#: What pip calls the packages whose modules have another name.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "dotenv": "python-dotenv",
    "git": "GitPython",
    "google": "protobuf",
    "groundingdino": "groundingdino-py",
    "segment_anything": "segment-anything",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "socks": "PySocks",
    "torch_directml": "torch-directml",
    "yaml": "PyYAML",
}

#: Those of Python's own modules that newer versions have no more.
_REMOVED = (
    "distutils|imp|cgi|cgitb|telnetlib|audioop|pipes|asyncore|asynchat|smtpd|crypt|imghdr|sndhdr"
    "|lib2to3|nntplib|uu|xdrlib|aifc|sunau|mailcap|msilib|nis|spwd|ossaudiodev|binhex|chunk"
)
#: All others, of the version that we run in.
_STANDARD_LIBRARY = "|".join(
    name
    for name in sorted(sys.stdlib_module_names)
    if not re.fullmatch(_REMOVED, name) and not name.startswith("__")
)
#: What Python has only where the libraries for it were there when it was built.
_BUILT_IN_PARTS = (
    "_?(?:ssl|hashlib|ctypes|lzma|bz2|sqlite3|uuid|tkinter|curses|readline|zlib|decimal)"
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
        "no pip",
        r"^(?:/\S*|[A-Z]:\\\S*|python\S*): No module named '?pip\b",
        MissingDependency,
        "The engine's Python has no 'pip', so launch.py can install nothing.",
        f"Give it one with python -m ensurepip, or name another Python. {RIGHT_PYTHON}",
        "/usr/bin/python3: No module named pip",
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
        r"(?P<module>(?:modules|ldm_patched|(?:fooocus_)?extras|backend|comfy|fcbh|enhanced"
        r"|sdxl_styles|args_manager|fooocus_version"
        r"|fooocusui|webui|shared)\b[\w.]*)",
        StartError,
        "The checkout lacks its own module {module}, or a part of it.",
        "Get it anew with: git clone https://github.com/lllyasviel/Fooocus",
        "ModuleNotFoundError: No module named 'ldm_patched.modules'",
    ),
    rule(
        "Python too new",
        rf"^(?:ModuleNotFoundError: No module named '(?:{_REMOVED})\b"
        r"|TypeError: ForwardRef\._evaluate\(\)"
        rf"|AttributeError: module '(?!(?:os|signal|socket|select|time)\b)(?:{_STANDARD_LIBRARY})"
        r"(?:\.\w+)*' has no attribute"
        rf"|ImportError: cannot import name '\w+' from '(?:{_STANDARD_LIBRARY})(?:\.\w+)*')",
        WrongInterpreter,
        "Fooocus does not run on this version of Python.",
        RIGHT_PYTHON,
        "AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: "
        "'zipimporter'?",
    ),
    rule(
        "Python too old",
        r"^(?:ModuleNotFoundError: No module named '(?:tomllib|graphlib|zoneinfo)\b"
        r"|TypeError: (?:unsupported operand type\(s\) for \|: '(?:type|NoneType|types\.|_"
        r"|ABCMeta)"
        r"|'(?:type|ABCMeta|function)' object is not subscriptable"
        r"|\w*\(?\)? ?(?:got an unexpected keyword argument '(?:slots|kw_only|strict)'"
        r"|takes no keyword arguments)|dataclass\(\) got an unexpected keyword)"
        r"|AttributeError: '(?:str|int|dict)' object has no attribute '(?:removeprefix|removesuffix"
        r"|bit_count)'|SyntaxError: (?!broken PNG|not a \w+ file))",
        WrongInterpreter,
        "Fooocus does not run on this version of Python: {what}",
        RIGHT_PYTHON,
        "TypeError: unsupported operand type(s) for |: 'types.GenericAlias' and 'type'",
    ),
    rule(
        "source file damaged",
        r"^(?:IndentationError|TabError|(?:Syntax|Value)Error: source code (?:string )?cannot "
        r"contain null)"
        r"\b",
        StartError,
        "A file of the checkout was changed, and is no Python any more: {what}",
        "Undo the change (git status names the files), or get the checkout anew with: git clone "
        "https://github.com/lllyasviel/Fooocus",
        "IndentationError: unexpected indent",
    ),
    rule(
        "Python without a part of its own",
        rf"^ModuleNotFoundError: No module named '(?P<module>{_BUILT_IN_PARTS})'"
        r"|^(?:\w+\.)*\w*Error: .*(?:unknown url type: https\b|(?:the|because the) SSL module"
        r"|ssl module in Python is not available"
        r"|zlib not available)",
        WrongInterpreter,
        "The engine's Python was built without a part of its own library: {what}",
        RIGHT_PYTHON,
        "ModuleNotFoundError: No module named '_ctypes'",
    ),
    rule(
        "Python incomplete",
        rf"^ModuleNotFoundError: No module named '(?P<module>{_STANDARD_LIBRARY})'",
        WrongInterpreter,
        "The engine's Python does not find its own library: {module} is missing.",
        "Take PYTHONHOME and PYTHONPATH out of the environment. If that does not help, this Python "
        f"is damaged. {RIGHT_PYTHON}",
        "ModuleNotFoundError: No module named 'encodings'",
    ),
    exception_rule(
        "numpy of another version",
        all_of(
            r"\bnumpy|multiarray|_ARRAY_API",
            r"failed to import|C-extensions failed|_ARRAY_API|ufunc|infer dtype|got numpy\."
            r"|compiled (?:using|against|with)|not available"
            r"|binary incompat"
            r"|size changed|has no attribute|was removed|cannot import|named '?numpy\."
            r"|initialization",
            kinds=r"ImportError|ModuleNotFoundError|AttributeError|RuntimeError|ValueError|TypeError"
            r"|SystemError",
        ),
        WrongInterpreter,
        "A package of the engine's Python does not fit its numpy: {what}",
        "Into the engine's environment, install the numpy that the checkout's "
        f"{REQUIREMENTS} names (python -m pip install 'numpy<2'). If cupy is named, which Fooocus "
        "does not need, remove it.",
        "ImportError: numpy.core.multiarray failed to import",
    ),
    exception_rule(
        "no compiler",
        all_of(
            r"(?:failed to|cannot|can't|could not) find (?:a )?(?:working )?C(?:\+\+)? compiler"
        ),
        MissingDependency,
        "A package of the engine wants a C compiler, and there is none: {what}",
        "Install one (apt install gcc; on Windows, Microsoft's C++ Build Tools), or remove the "
        "package that wants it, such as triton, which Fooocus does not need.",
        "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
    ),
    rule(
        "setuptools too new",
        r"^(?:ModuleNotFoundError: No module named |ImportError: cannot import name '\w+' from )"
        r"'pkg_resources\b",
        WrongInterpreter,
        "The engine's Python has another setuptools than its packages need: {what}",
        "Install an older one into it, which has pkg_resources: python -m pip install "
        "'setuptools<70'",
        "ModuleNotFoundError: No module named 'pkg_resources'",
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
        r"|python\S*): No module named '?|(?:\w+\.)*PackageNotFoundError: (?:No package metadata "
        r"was found for )?|(?:\w+\.)*DistributionNotFound: The ')(?P<module>[\w.-]+)",
        MissingDependency,
        "The engine's Python has no module {module!r}.",
        "Is it the interpreter that Fooocus was installed in? Name the right one with python=, or "
        "install what it lacks ({lacking}), best with all of Fooocus's requirements, into this "
        "one.",
        "ModuleNotFoundError: No module named 'torch'",
        follows=("pip",),
        afterwards="That brings {module}, too.",
    ),
    exception_rule(
        "package asked for",
        all_of(
            r"not found|requires?\b|required|not (?:be )?installed|need|missing",
            r"pip3? install '?(?P<module>[\w.-]+)",
            none_of=r"--upgrade\b|\s-U\b|but found",
            kinds=r"ImportError|ModuleNotFoundError|ValueError|RuntimeError|OSError",
        ),
        MissingDependency,
        "The engine's Python has no package {module!r}.",
        "Install it into the engine's environment: python -m pip install {module}",
        "ValueError: Using a `device_map` requires `accelerate`: `pip install accelerate`",
    ),
    rule(
        "system library too old",
        r"^(?:ImportError|OSError): .*version [`'](?P<library>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)'"
        r" not found",
        MissingDependency,
        "The system's own libraries are too old for a package of the engine: {library} is missing.",
        "Take a newer system, or install an older release of the package that is named. In a "
        "conda environment, conda install -c conda-forge libstdcxx-ng brings newer ones of "
        "GLIBCXX and CXXABI.",
        "ImportError: /lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.29' not found (required by "
        "/env/lib/python3.10/site-packages/x.so)",
    ),
    exception_rule(
        "PyTorch's libraries do not fit",
        all_of(
            r"undefined symbol|symbol not found|procedure entry point",
            r"\b(?:lib)?(?:torch|c10|nv\w+|cu(?:da|dnn|blas|sparse|solver|fft|pti)\w*|nccl\w*)\b"
            r"|nvidia[\\/]",
            kinds=r"ImportError|OSError",
        ),
        WrongInterpreter,
        "Libraries of PyTorch and for the GPU come from different releases: {what}",
        "Install PyTorch anew into the engine's environment, with all of the checkout's "
        f"{REQUIREMENTS}: it brings its CUDA libraries. A LD_LIBRARY_PATH that names others has to "
        "go: env={{'LD_LIBRARY_PATH': ''}}.",
        "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version "
        "libnvJitLink.so.12",
    ),
    rule(
        "driver's library missing",
        r"^(?:ImportError|OSError): (?P<library>lib(?:cuda|nvidia-\w+|ze_loader"
        r"|OpenCL)\.so[\w.]*): "
        r"cannot open shared object",
        MissingDependency,
        "A library of the GPU's driver is not there: {library}",
        "Install the driver, or start the container with its GPU (docker run --gpus all); "
        "args=['--always-cpu'] runs without a GPU, slowly.",
        "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
    ),
    rule(
        "library for the GPU missing",
        r"^(?:ImportError|OSError): (?P<library>lib(?:cu|nv|nccl|sycl|amd|hip|hsa|roc|MIOpen|mkl"
        r"|iomp|tbb|ur_|pi_|intel|torch|c10)[\w.+-]*\.so[\w.]*): cannot open shared object",
        MissingDependency,
        "A library that PyTorch needs for the GPU is not there: {library}",
        "Install PyTorch anew into the engine's environment, the one for this GPU: it brings such "
        "libraries.",
        "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory",
    ),
    rule(
        "system library missing",
        r"^(?:ImportError|OSError): (?P<library>lib[\w.+-]+\.so[\w.]*): cannot open shared object",
        MissingDependency,
        "The system has no {library}, which a package of the engine needs.",
        "Install it: libGL and libgthread come with apt install libgl1 libglib2.0-0.",
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
        "gradio of another version",
        r"^AttributeError: (?:type object '[A-Z]\w+' has no attribute 'update'"
        r"|'[A-Z]\w+' object has no attribute 'style')",
        WrongInterpreter,
        "The engine's Python has a newer gradio than this Fooocus knows: {what}",
        f"Install the version of gradio that the checkout's {REQUIREMENTS} names.",
        "AttributeError: type object 'Dropdown' has no attribute 'update'",
    ),
    rule(
        "pydantic of another version",
        r"^(?:\w+\.)*Pydantic\w*Error\b",
        WrongInterpreter,
        "The engine's Python has another pydantic than its packages need: {what}",
        "Install an older one into it: python -m pip install 'pydantic<2.11'; where that does not "
        "help, 'pydantic<2'.",
        "pydantic.errors.PydanticImportError: `BaseSettings` has been moved to the "
        "`pydantic-settings` package.",
    ),
    rule(
        "protobuf of another version",
        r"^TypeError: Descriptors cannot (?:not )?be created directly",
        WrongInterpreter,
        "The engine's Python has a newer protobuf than its packages know.",
        "Install an older one into it: python -m pip install 'protobuf<3.21'",
        "TypeError: Descriptors cannot not be created directly.",
    ),
    exception_rule(
        "packages do not fit one another",
        r"^(?:AttributeError: (?:type object )?'(?!NoneType)[A-Z]\w+' (?:object )?has no attribute "
        r"|TypeError: .*\b(?:got an unexpected keyword argument|missing \d+ required"
        r"|got an invalid combination of arguments|takes \d+ positional))",
        WrongInterpreter,
        "A package of the engine's Python does not fit another one that it uses: {what}",
        "Install the versions that the checkout's requirements_versions.txt names into the "
        "engine's environment; where it names none, older ones, from the time of that Fooocus.",
        "AttributeError: 'BertModel' object has no attribute 'get_head_mask'",
        foreign=True,
    ),
    rule(
        "packages do not fit",
        r"^(?:ImportError: |(?:RuntimeError|NotImplementedError): (?:operator torchvision::"
        r"|Could not run 'torchvision::|Failed to import |Detected that "
        r"|.*compiled (?:with|against|for) different)|SystemError: initialization of "
        r"|ValueError: This ORT build has "
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


def distribution_of(module: str) -> str:
    """Return what pip calls the package of a module."""
    name = module.partition(".")[0]
    return _DISTRIBUTIONS.get(name, name)


def with_distribution(module: str) -> str:
    """Return a module, with what pip calls its package where that is another name."""
    package = distribution_of(module)
    told = package == module.partition(".")[0]
    return module if told else f"{module}; for pip it is {package}"
