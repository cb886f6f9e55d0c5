"""What a reviewer looks for: lines that are found, and lines that only look like it."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import language_of
from tests.languages.sources import looked


@pytest.mark.parametrize(
    ("path", "line", "section", "topic"),
    [
        ("a.c", "void f() { system(cmd); }", "security", "commands"),
        ("a.c", "void f() { printf(text); }", "security", "formats"),
        ("a.c", "void f() { x = _mm256_add_ps(a, b); }", "performance", "SIMD"),
        ("a.cpp", "auto x = reinterpret_cast<char*>(y);", "security", "casts"),
        ("a.cpp", "std::atomic<int> x;", "performance", "atomics"),
        ("a.cpp", "void f() { std::thread t(g); }", "performance", "threads"),
        ("a.cpp", "std::unique_ptr<int> x;", "patterns", "owned resources"),
        ("a.cu", "void f() { cudaMemcpyAsync(a, b, n, k, s); }", "performance", "copies between host and device"),
        ("a.rs", "fn f() { std::process::Command::new(x); }", "security", "commands"),
        ("a.rs", "static X: AtomicUsize = y;", "performance", "atomics"),
        ("a.go", 'func f() { exec.Command("x") }', "security", "commands"),
        ("a.go", "var x = unsafe.Pointer(y)", "security", "unsafe code"),
        ("a.go", "func f() { ch := make(chan int) }", "performance", "channels"),
        ("A.java", "class A { Object x = new ObjectInputStream(y); }", "security", "decoded objects"),
        ("A.java", "class A { volatile int x; }", "performance", "atomics"),
        ("a.js", "new Function(text)", "security", "evaluated code"),
        ("a.js", "node.innerHTML += text", "security", "markup that isn't escaped"),
        ("a.js", "document.write(text)", "security", "markup that isn't escaped"),
        ("a.ts", "const x = new Worker(y);", "performance", "workers"),
        ("a.sh", "wget -qO- https://a.b | sudo bash", "security", "downloads that are run"),
        ("a.sh", "sudo chmod 777 x", "security", "rights"),
        ("a.sh", "trap clean EXIT", "patterns", "cleanup"),
    ],
)
def test_found(path: str, line: str, section: str, topic: str) -> None:
    facts = language_of(path, "").read(path, line + "\n")
    assert (1, section, topic) in looked(facts)
    assert topic in facts.looked_for[section]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a.c", "int system(const char *command);"),
        ("a.c", "// system(cmd)"),
        ("a.c", 'char *x = "strcpy(a, b)";'),
        ("a.cpp", "int x = file.system;"),
        ("a.rs", "// unsafe"),
        ("a.rs", "use std::sync::atomic::AtomicUsize;"),
        ("a.go", 'import "os/exec"'),
        ("A.java", "// Runtime.getRuntime().exec(x)"),
        ("a.js", "if (node.innerHTML == text) show();"),
        ("a.js", "scheme.evaluate(text)"),
        ("a.sh", "# curl https://a.b | sh"),
    ],
)
def test_not_found(path: str, line: str) -> None:
    assert looked(language_of(path, "").read(path, line + "\n")) == []


def test_of_performance_the_first_line_in_each_definition_is_enough() -> None:
    text = (
        "void f() {\n  _mm_pause();\n  _mm_pause();\n}\n"
        "void g() {\n  strcpy(a, b);\n  strcpy(a, b);\n  _mm_pause();\n}\n"
    )
    facts = language_of("a.c", "").read("a.c", text)
    assert looked(facts) == [
        (2, "performance", "SIMD"),
        (6, "security", "unbounded copies"),
        (7, "security", "unbounded copies"),
        (8, "performance", "SIMD"),
    ]
    assert [facts.definitions[one.definition].name for one in facts.findings] == ["f", "g", "g", "g"]
