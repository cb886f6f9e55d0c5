"""What a reviewer of Python code looks for, with its line: by the names that are called, imported and defined.

Names are followed through the file's own imports, so ``from subprocess import Popen as P`` is found where ``P`` is
called. bandit finds more of what is unsafe (``bandit.py`` beside this file).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from pagedex.model.facts import Facts, Finding

LOOKED_FOR = {
    "security": (
        "eval and exec",
        "unpickling",
        "subprocesses",
        "native calls",
        "temporary files",
        "network",
        "assertions used as checks",
        "what else bandit knows",
    ),
    "performance": (
        "caches",
        "locks",
        "threads",
        "processes",
        "asynchronous code",
        "native code",
        "input and output in loops",
    ),
    "patterns": (
        "module variables that functions change",
        "attributes computed by a module's __getattr__",
        "imports inside functions",
        "attributes of imported modules replaced",
    ),
}

_TYPES = ""
"""Values of C's types, which call nothing."""

_CTYPES = """
    byref sizeof c_bool c_byte c_char c_char_p c_double c_float c_int c_int8 c_int16 c_int32 c_int64 c_long c_longlong
    c_short c_size_t c_ssize_t c_ubyte c_uint c_uint8 c_uint16 c_uint32 c_uint64 c_ulong c_ulonglong c_ushort c_void_p
    c_wchar c_wchar_p create_string_buffer create_unicode_buffer POINTER pointer Structure Union
""".split()
# Dotted names that are called -> (section, topic). A name that ends with a dot stands for everything below it.
_CALLED = {
    "ctypes.": ("security", "native calls"),
    "ctypes.wintypes.": ("security", _TYPES),
    **{f"ctypes.{name}": ("security", _TYPES) for name in _CTYPES},
    "cffi.": ("security", "native calls"),
    "torch.ops.": ("performance", "native code"),
    "torch.utils.cpp_extension.": ("security", "native calls"),
    "numba.": ("performance", "native code"),
    "tempfile.": ("security", "temporary files"),
    "socket.": ("security", "network"),
    "ssl.": ("security", "network"),
    "urllib.request.": ("security", "network"),
    "http.client.": ("security", "network"),
    "http.server.": ("security", "network"),
    "requests.": ("security", "network"),
    "httpx.": ("security", "network"),
    "aiohttp.": ("security", "network"),
    "smtplib.": ("security", "network"),
    "ftplib.": ("security", "network"),
    "xmlrpc.": ("security", "network"),
    "functools.lru_cache": ("performance", "caches"),
    "functools.cache": ("performance", "caches"),
    "functools.cached_property": ("performance", "caches"),
    "cachetools.": ("performance", "caches"),
    "weakref.WeakValueDictionary": ("performance", "caches"),
    "weakref.WeakKeyDictionary": ("performance", "caches"),
    "threading.Lock": ("performance", "locks"),
    "threading.RLock": ("performance", "locks"),
    "threading.Condition": ("performance", "locks"),
    "threading.Semaphore": ("performance", "locks"),
    "threading.BoundedSemaphore": ("performance", "locks"),
    "threading.Event": ("performance", "locks"),
    "threading.Barrier": ("performance", "locks"),
    "multiprocessing.Lock": ("performance", "locks"),
    "asyncio.Lock": ("performance", "locks"),
    "asyncio.Semaphore": ("performance", "locks"),
    "fcntl.flock": ("performance", "locks"),
    "fcntl.lockf": ("performance", "locks"),
    "threading.Thread": ("performance", "threads"),
    "threading.Timer": ("performance", "threads"),
    "threading.local": ("performance", "threads"),
    "concurrent.futures.ThreadPoolExecutor": ("performance", "threads"),
    "concurrent.futures.ProcessPoolExecutor": ("performance", "processes"),
    "multiprocessing.": ("performance", "processes"),
    "torch.multiprocessing.": ("performance", "processes"),
    "os.fork": ("performance", "processes"),
    "subprocess.": ("performance", "processes"),
    "asyncio.": ("performance", "asynchronous code"),
}
# Names of decorators are found where they decorate, called or not.
_READS_OR_WRITES = frozenset(
    """ open io.open os.open os.read os.write os.stat os.listdir os.scandir os.remove os.unlink os.rename os.replace
    os.fsync os.path.exists os.path.isfile os.path.isdir os.path.getsize shutil.copy shutil.copyfile shutil.copytree
    shutil.move shutil.rmtree json.load json.dump pickle.load pickle.dump torch.load torch.save numpy.load numpy.save
    subprocess.run subprocess.check_call subprocess.check_output urllib.request.urlopen requests.get requests.post
    """.split()
)
_METHODS_THAT_READ_OR_WRITE = frozenset(
    """ read readline readlines readinto read_text read_bytes write writelines write_text write_bytes recv send sendall
    flush
    """.split()
)
_BY_INHERITANCE = ("threads", "processes", "network")
"""What a class does by being derived from another."""

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_LONGEST = 120


def findings_of(facts: Facts, tree: ast.Module, path: str, lines: list[str]) -> list[Finding]:
    """The findings in a tree, in its order; each once a line and topic."""
    seen: set[tuple[str, int]] = set()
    found: list[Finding] = []
    for section, topic, line in _look(facts, tree):
        if (topic, line) not in seen and 0 < line <= len(lines):
            seen.add((topic, line))
            found.append(Finding(section, topic, line, _shown(lines[line - 1]), facts.enclosing(line)))
    return found


def _shown(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _LONGEST else line[:_LONGEST] + " …"


def _look(facts: Facts, tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    names = _imported_names(facts)
    for one in facts.imports:
        if not one.top and not one.typing_only:
            yield "patterns", "imports inside functions", one.line
        last = one.name or one.module.rpartition(".")[2]
        if last in ("_C", "_native") or one.module.startswith(("ctypes", "cffi")):
            yield "security", "native calls", one.line
            yield "performance", "native code", one.line
    waiting: list[tuple[ast.AST, bool, bool]] = [(tree, False, True)]
    while waiting:
        node, in_loop, at_top = waiting.pop()
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if isinstance(node, ast.Call):
            yield from _call(node, names, in_loop)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bases = node.bases if isinstance(node, ast.ClassDef) else []
            for base in bases:  # class _Refresh(Thread)
                kind = _kind(_dotted(base, names))
                if kind is not None and kind[1] in _BY_INHERITANCE:
                    yield (*kind, node.lineno)
            for decorator in node.decorator_list:
                dotted = _dotted(decorator, names)
                if (kind := _kind(dotted)) is not None:
                    yield (*kind, decorator.lineno)
            if isinstance(node, ast.AsyncFunctionDef):
                yield "performance", "asynchronous code", node.lineno
            if at_top and node.name == "__getattr__" and not isinstance(node, ast.ClassDef):
                yield "patterns", "attributes computed by a module's __getattr__", node.lineno
        elif isinstance(node, ast.Global):
            yield "patterns", "module variables that functions change", node.lineno
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                value = target.value if isinstance(target, ast.Attribute) else None
                if isinstance(value, ast.Name) and names.get(value.id, ("", False))[1]:
                    yield "patterns", "attributes of imported modules replaced", node.lineno
        inner_loop = (in_loop or isinstance(node, _LOOPS)) and not function
        inner_top = at_top and not isinstance(node, ast.ClassDef) and not function
        children = [(child, inner_loop, inner_top) for child in ast.iter_child_nodes(node)]
        waiting.extend(reversed(children))


def _call(node: ast.Call, names: dict[str, tuple[str, bool]], in_loop: bool) -> Iterator[tuple[str, str, int]]:
    dotted = _dotted(node.func, names)
    if (kind := _kind(dotted)) is not None:
        yield (*kind, node.lineno)
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if in_loop and (dotted in _READS_OR_WRITES or (not dotted and method in _METHODS_THAT_READ_OR_WRITE)):
        yield "performance", "input and output in loops", node.lineno


def _kind(dotted: str) -> tuple[str, str] | None:
    found = _CALLED.get(dotted)
    while found is None and "." in dotted:
        dotted = dotted.rpartition(".")[0]
        found = _CALLED.get(dotted + ".")
    return found if found is None or found[1] != _TYPES else None


def _dotted(node: ast.expr, names: dict[str, tuple[str, bool]]) -> str:
    """The dotted name of what an expression calls, through imports; empty where it isn't an imported or built-in
    name."""
    if isinstance(node, ast.Call):
        node = node.func
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    known = names.get(node.id)
    if known is None:
        return "open" if node.id == "open" and not parts else ""
    return ".".join([known[0], *reversed(parts)])


def _imported_names(facts: Facts) -> dict[str, tuple[str, bool]]:
    """Name in the file -> (dotted name, whether it is a module for sure)."""
    names: dict[str, tuple[str, bool]] = {}
    for one in facts.imports:
        if one.level or one.name == "*":
            continue
        if one.name:
            names[one.alias or one.name] = (f"{one.module}.{one.name}", False)
        elif one.alias:
            names[one.alias] = (one.module, True)
        else:
            top = one.module.partition(".")[0]
            names[top] = (top, True)
    return names
