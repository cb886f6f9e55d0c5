"""Another architecture's Python, emulated: Debian's own, unpacked into a folder and run by qemu; no container."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .commands import MissingError, run

__all__ = ["PYTHONS", "emulator", "try_wheel"]

PYTHONS = {"3.11": "bookworm", "3.13": "trixie"}
"""Which Debian has which Python."""

_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PACKAGES = (
    "python{v}-minimal libpython{v}-minimal libpython{v}-stdlib libc6 libgcc-s1 libstdc++6 "
    "zlib1g libexpat1 {ssl} libffi8 libbz2-1.0 liblzma5"
)
_SSL = {"bookworm": "libssl3", "trixie": "libssl3t64"}
_APT = """\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "root";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""
# What pip takes for a machine that isn't this one; it doesn't know that a newer glibc runs what an older one does.
_PLATFORMS = ["manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"]


def _found() -> str | None:
    return shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


def emulator() -> str:
    """The command that runs aarch64's programs, installed where that can be done."""
    if not _found() and shutil.which("apt-get") and os.geteuid() == 0:
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "qemu-user")
    found = _found()
    if not found:
        raise MissingError("there is no qemu-aarch64 (Debian: apt-get install qemu-user)")
    if not (shutil.which("apt-get") and _KEYS.is_file()):
        raise MissingError("Debian's Python for aarch64 is fetched by apt-get, which isn't here or lacks Debian's keys")
    return found


def _root(folder: Path, version: str) -> Path:
    """The folder with this Python's file system, fetched and unpacked."""
    root = folder / "root"
    if (folder / "unpacked").exists():
        return root
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial", "packages", "root"):
        (folder / name).mkdir(parents=True)
    suite = PYTHONS[version]
    listed = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages")
    mirrors = [words[1] for line in listed.splitlines() if (words := line.split())[0] == "Debian"]
    if not mirrors:
        raise MissingError("apt-get knows no mirror of Debian")
    (folder / "sources.list").write_text(f"deb [signed-by={_KEYS}] {mirrors[0]} {suite} main\n")
    (folder / "status").touch()
    (folder / "apt.conf").write_text(_APT.format(folder=folder))
    settings = {"APT_CONFIG": str(folder / "apt.conf")}
    run("apt-get", "update", "-qq", environment=settings)
    wanted = _PACKAGES.format(v=version, ssl=_SSL[suite]).split()
    run("apt-get", "download", "-qq", *wanted, environment=settings, folder=folder / "packages")
    # Since trixie /lib is a link to usr/lib; a package that still brings /lib follows it.
    for name in ("usr/lib", "usr/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / Path(name).name).symlink_to(name)
    unpack = (
        'for package in packages/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C root'
    )
    run("sh", "-c", f"{unpack} || exit 1; done", folder=folder)
    (folder / "unpacked").touch()
    return root


def try_wheel(wheel: Path, version: str, smoke: Path, folder: Path, pip: Path) -> str:
    """What the smoke script says of the wheel on aarch64; `pip` is a Python of this machine that has pip."""
    qemu = emulator()
    root = _root(folder / f"debian-{version}", version)
    site = folder / f"site-{version}"
    shutil.rmtree(site, ignore_errors=True)
    platforms = [word for name in _PLATFORMS for word in ("--platform", name)]
    target: list[str | Path] = ["--only-binary", ":all:", "--target", site]
    target += ["--python-version", version, "--implementation", "cp"]
    run(pip, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *target, *platforms, wheel)
    settings = {"PYTHONHOME": str(root / "usr"), "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    python = root / f"usr/bin/python{version}"
    return run(qemu, "-L", root, python, smoke, environment=settings, folder=folder).strip()
