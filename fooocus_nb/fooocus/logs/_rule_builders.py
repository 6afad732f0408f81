"""What a rule of diagnosis is, and the words by which whole families of failures are known.

A family is known by what its messages share, whoever words them: what could not be had (memory, a
device, a number format), and of whom (a vendor's libraries). So a new release's sentence, or that
of another vendor, is known without being listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.errors import EngineError

__all__ = [
    "DEVICE",
    "NO_MEMORY",
    "SYSTEM_MEMORY",
    "VENDORS",
    "NoticeRule",
    "Rule",
    "all_of",
    "exception_rule",
    "rule",
]


@dataclass(frozen=True)
class Rule:
    """One thing that can go wrong."""

    title: str  # what it is, for the table in the docs
    expression: str  # matched at the start of a line, or of an exception's text
    error: type[EngineError]
    cause: str  # this and the remedies may name the pattern's groups
    remedy: str
    example: str
    raised: bool = False  # only exceptions are looked at
    # The web server has the same exceptions whenever a browser leaves, so of some only those count
    # that went through Fooocus's own code.
    own: bool = False
    foreign: bool = False  # only what was raised within an installed package
    where: re.Pattern[str] | None = None  # what one of the traceback's lines has to hold
    by_vendor: Mapping[str, str] = field(default_factory=dict)  # other remedies; see `VENDORS`
    group: str = ""  # by what it is called as the cause of another
    follows: tuple[str, ...] = ()  # the groups of what may be its real cause
    afterwards: str = ""  # what else the remedy of that cause mends
    unrecoverable: bool = False  # the process can compute no more

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The expression, compiled at its first use: all of them take a tenth of a second."""
        return re.compile(self.expression)


@dataclass(frozen=True, slots=True)
class NoticeRule:
    """One thing that is no failure but worth knowing; see :class:`Rule`."""

    pattern: re.Pattern[str]
    meaning: str
    remedy: str
    example: str
    quoted: bool = False  # also looked for where Fooocus repeats what the user wrote


def rule(
    title: str,
    pattern: str,
    error: type[EngineError],
    cause: str,
    remedy: str,
    example: str,
    *,
    raised: bool = False,
    own: bool = False,
    group: str = "",
    follows: tuple[str, ...] = (),
    afterwards: str = "",
) -> Rule:
    """Return a rule for what begins with `pattern`."""
    return Rule(
        title,
        pattern,
        error,
        cause,
        remedy,
        example,
        raised=raised,
        own=own,
        group=group,
        follows=follows,
        afterwards=afterwards,
    )


def exception_rule(
    title: str,
    sought: str,
    error: type[EngineError],
    cause: str,
    remedy: str,
    example: str,
    *,
    own: bool = False,
    foreign: bool = False,
    where: str = "",
    by_vendor: Mapping[str, str] | None = None,
    group: str = "",
    unrecoverable: bool = False,
) -> Rule:
    """Return a rule for exceptions whose name and message hold the signs `sought`."""
    return Rule(
        title,
        sought,
        error,
        cause,
        remedy,
        example,
        raised=True,
        own=own,
        foreign=foreign,
        where=re.compile(where) if where else None,
        by_vendor=by_vendor or {},
        group=group,
        unrecoverable=unrecoverable,
    )


def all_of(*all_of: str, none_of: str = "", kinds: str = r"[A-Za-z_]\w*") -> str:
    """Return a pattern for an exception of one of the `kinds` that holds every one of the signs."""
    barred = rf"(?!.*?(?:{none_of}))" if none_of else ""
    wanted = "".join(rf"(?=.*?(?:{sign}))" for sign in all_of)
    return rf"(?is)^{barred}{wanted}(?:[a-z_]\w*\.)*(?:{kinds})(?::|$)"


#: How the vendors' libraries, and PyTorch, name what computes.
DEVICE = (
    r"\b(?:CUDA|NVIDIA|NVML|NVRTC|NCCL|cu(?:DNN|BLAS|FFT|SPARSE|SOLVER|RAND)|HIP|ROC(?:m|BLAS"
    r"|SOLVER|FFT)"
    r"|MIOpen"
    r"|MPS|Metal|XPU|SYCL|Level[ _-]?Zero|oneDNN|UR_|PI_|DirectML|DML|DX(?:12|GI)|D3D12"
    r"|PrivateUseOne|Native API|NPU|MUSA|MLU|GPU|VRAM|video memory|accelerator)|torch_directml"
)
#: Whose they are; the one that is named first counts: some messages list all.
VENDORS = {
    "NVIDIA": re.compile(
        r"(?i)\b(?:CUDA|NVIDIA|NVML|NVRTC|NCCL|cu(?:DNN|BLAS|FFT|SPARSE|SOLVER|RAND))"
    ),
    "Apple": re.compile(r"(?i)\b(?:MPS|Metal)"),
    "AMD": re.compile(r"(?i)\b(?:HIP|ROC(?:m|BLAS|SOLVER|FFT)|MIOpen|gfx\d)"),
    "Intel": re.compile(r"(?i)\b(?:XPU|SYCL|Native API|Level[ _-]?Zero|UR_|PI_|IPEX)"),
    "DirectML": re.compile(
        r"(?i)\b(?:DirectML|DML|PrivateUseOne|DX(?:12|GI)|D3D12)|torch_directml"
    ),
}
#: How it is said that there was no memory left.
NO_MEMORY = (
    r"out[ _]of[ _](?:\w+[ _])?(?:memory|resources)|OutOf(?:Device|Host)?Memory|ALLOC_FAILED"
    r"|(?:not enough|insufficient|exceed\w*|no more) (?:\w+ ){0,4}memory|InsufficientMemory"
    r"|(?:fail\w*|unable|could ?n[o']t|can(?:no|')t|not able) (?:to )?(?:\w+ )?(?:allocat|alloc\b)"
    r"|tried to allocate|cuda\w*Malloc\w* failed|hipMalloc\w* failed|invalid buffer size"
)
#: What tells the system's memory from a GPU's. Windows says it in its user's language, mostly with
#: the number.
SYSTEM_MEMORY = (
    r"DefaultCPUAllocator|alloc_cpu|\bMemoryError\b|ArrayMemoryError|bad[ _]alloc|for an array with"
    r"|-4:Insufficient memory|cv::OutOfMemory"
    r"|Cannot allocate memory|\[Errno 12\]|WinError (?:8|14)\b|(?:WinError|os error"
    r"|error code)[: ]*145[035]\b"
    r"|paging file|Auslagerungsdatei|页面文件|分頁檔|ページング|페이징 파일"
    r"|paginaci[oó]n|pagina[cç][aã]o|fichier d.[ée]change|fichier de pagination|file di paging"
    r"|файл(?:а|у|ом)? (?:подкачки|підкачки|підкачування|сторінок)"
    r"|plik\w* stronicowania|wisselbestand"
    r"|str[aá]nkovac[ií] s[ou][uú]?bor|v[aä]xlingsfil|v[aä]xlingsfilen|sidefilen|sidevekslingsfil"
    r"|veks[el]{2}fil|sivutustiedosto|lapoz[oó]f[aá]jl|fi[sșş]ier\w* de pagin"
    r"|disk belle[gğ]i dosyas|αρχείο σελιδοποίησης|файлът за страниране|tệp hoán trang|แฟ้มเพจ"
)
