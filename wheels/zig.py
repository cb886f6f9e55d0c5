"""Zig's clang as a compiler of these wheels: it brings its own C++ library, and any architecture's and age's libc."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["ZIG", "environment"]

ZIG = "ziglang==0.17.1"

# The oldest glibc that the wheels ask for. Debian 10, RHEL 8 and Ubuntu 20.04 have it.
_GLIBC = "2.28"

# Zig has undefined behaviour trap unless it's told not to, and would build for this very processor where it may.
# nanobind uses stderr and leaves it to the C++ library to bring <cstdio>, which LLVM's doesn't; Python's own
# configuration then names other feature levels of libc than Zig's headers do.
_FLAGS = "-fno-sanitize=undefined -mcpu={cpu} -Wno-macro-redefined"
_CPUS = {"x86_64": "x86_64", "aarch64": "generic"}
_COMMANDS = {
    "CC": "cc -target {arch}-linux-gnu.{glibc} " + _FLAGS,
    "CXX": "c++ -target {arch}-linux-gnu.{glibc} " + _FLAGS + " -include cstdio",
    "AR": "ar",
    "RANLIB": "ranlib",
}


def environment(python: Path, arch: str, folder: Path) -> dict[str, str]:
    """What CMake must be told, with commands that are written to `folder`; `python` has Zig installed.

    The headers of Python are this machine's also for another architecture: aarch64's pyconfig.h differs in how Python's
    own floating-point arithmetic is compiled, and in whether wchar_t is unsigned; neither matters to the kernels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tools = {}
    for name, arguments in _COMMANDS.items():
        tool = folder / name.lower()
        command = arguments.format(arch=arch, glibc=_GLIBC, cpu=_CPUS[arch])
        tool.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -m ziglang {command} "$@"\n')
        tool.chmod(0o755)
        tools[name] = str(tool)
    cache = str(folder.parent / "zig-cache")
    defines = [f"-DCMAKE_AR={tools['AR']}", f"-DCMAKE_RANLIB={tools['RANLIB']}"]
    defines += ["-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={arch}"]
    return {
        "CC": tools["CC"],
        "CXX": tools["CXX"],
        "CMAKE_ARGS": shlex.join(defines),
        "ZIG_GLOBAL_CACHE_DIR": cache,
        "ZIG_LOCAL_CACHE_DIR": cache,
        # Whatever the machine's own compiler is told is not for this one.
        "CFLAGS": "",
        "CXXFLAGS": "",
        "LDFLAGS": "",
    }
