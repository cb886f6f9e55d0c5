"""C, C++ and CUDA: what is found in a small source, with its lines."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts
from tests.languages.sources import found, imported, looked, named

SOURCE = """\
// Copyright (C) 2024 The Authors
// SPDX-License-Identifier: MIT

// Reads frames of ZStandard, as get_frame gives them.
#pragma once
#include <vector>
#include "dcpx/kernel.h"

#define DCPX_API __attribute__((visibility("default")))
#define SQUARE(x) ((x) * (x))

namespace dcpx::frames {

/// What a frame begins with.
/// Four bytes.
constexpr int kMagic = 0x28;

/** A reader.
 *
 * It owns its buffer.
 */
template <typename T>
class DCPX_API Reader final : public Base<T>, private detail::Lock {
 public:
  explicit Reader(int fd) : fd_(fd) {}
  virtual ~Reader();
  virtual int read(void* into,
                   int size = {}) const = 0;
  static Reader* make();
  bool operator==(const Reader& other) const;
  operator bool() const { return true; }

 private:
  enum class State : int { kOpen, kClosed = 2 };
  int fd_;  ///< The file.
  std::mutex lock_;
};

using Bytes = std::vector<char>;
typedef struct { int x; } Point;
static int helper(char* to, const char* from) {
  int local = 0;
  strcpy(to, from);  // as get_frame says
  memcpy(to, "strcat(a, b)", 3);
  return local;
}

template <typename T>
void Reader<T>::close() {
  delete static_cast<char*>(nullptr);
}

__device__ __forceinline__ float scale(float é);

namespace {
int hidden;
}
}  // namespace dcpx::frames
"""


@pytest.fixture(scope="module")
def facts() -> Facts:
    return language_of("a.hpp", SOURCE.split("\n")[0]).read("a.hpp", SOURCE)


def test_definitions(facts: Facts) -> None:
    assert found(facts) == [
        ("macro", "DCPX_API", 9, 9, 8),
        ("macro", "SQUARE", 10, 10, 8),
        ("namespace", "dcpx::frames", 12, 58, 10),
        ("constant", "dcpx::frames::kMagic", 16, 16, 14),
        ("class", "dcpx::frames::Reader", 23, 37, 15),
        ("method", "dcpx::frames::Reader::Reader", 25, 25, 11),
        ("method", "dcpx::frames::Reader::~Reader", 26, 26, 10),
        ("method", "dcpx::frames::Reader::read", 27, 28, 14),
        ("method", "dcpx::frames::Reader::make", 29, 29, 17),
        ("method", "dcpx::frames::Reader::operator==", 30, 30, 7),
        ("method", "dcpx::frames::Reader::operator bool", 31, 31, 2),
        ("enum", "dcpx::frames::Reader::State", 34, 34, 13),
        ("constant", "dcpx::frames::Reader::State::kOpen", 34, 34, 27),
        ("constant", "dcpx::frames::Reader::State::kClosed", 34, 34, 34),
        ("member", "dcpx::frames::Reader::fd_", 35, 35, 6),
        ("member", "dcpx::frames::Reader::lock_", 36, 36, 13),
        ("type", "dcpx::frames::Bytes", 39, 39, 6),
        ("struct", "dcpx::frames::Point", 40, 40, 26),
        ("member", "dcpx::frames::Point::x", 40, 40, 21),
        ("function", "dcpx::frames::helper", 41, 46, 11),
        ("method", "dcpx::frames::Reader::close", 49, 51, 16),
        ("function", "dcpx::frames::scale", 53, 53, 33),
        ("variable", "dcpx::frames::hidden", 56, 56, 4),
    ]
    assert [one.qualname for one in facts.definitions if not one.public] == [
        "dcpx::frames::Reader::State",
        "dcpx::frames::Reader::State::kOpen",
        "dcpx::frames::Reader::State::kClosed",
        "dcpx::frames::Reader::fd_",
        "dcpx::frames::Reader::lock_",
        "dcpx::frames::helper",
        "dcpx::frames::hidden",
    ]


def test_imports(facts: Facts) -> None:
    assert imported(facts) == [
        (6, "include", "vector", "", ""),
        (7, "include", "dcpx/kernel.h", "", ""),
    ]


def test_findings(facts: Facts) -> None:
    assert looked(facts) == [
        (36, "performance", "locks"),
        (43, "security", "unbounded copies"),
        (44, "security", "raw memory"),
    ]


def test_documentation(facts: Facts) -> None:
    assert (facts.doc, facts.doc_line) == ("Reads frames of ZStandard, as get_frame gives them.", 4)
    magic, reader = named(facts, "dcpx::frames::kMagic"), named(facts, "dcpx::frames::Reader")
    assert (magic.doc, magic.doc_line, magic.value) == ("What a frame begins with.\nFour bytes.", 14, "0x28")
    assert (reader.doc, reader.doc_line) == ("A reader.\n\nIt owns its buffer.", 18)
    field = named(facts, "dcpx::frames::Reader::fd_")
    assert (field.doc, field.doc_line) == ("The file.", 35)


def test_signatures_labels_and_bases(facts: Facts) -> None:
    reader, read = named(facts, "dcpx::frames::Reader"), named(facts, "dcpx::frames::Reader::read")
    assert reader.bases == ("Base<T>", "detail::Lock")
    assert (
        reader.signature == "template <typename T> class DCPX_API Reader final : public Base<T>, private detail::Lock"
    )
    assert read.signature == "virtual int read(void* into, int size = {}) const = 0"
    assert read.labels == ("virtual", "declaration", "abstract")
    scale = named(facts, "dcpx::frames::scale")
    assert scale.labels == ("__device__", "__forceinline__", "declaration")
    assert scale.signature == "__device__ __forceinline__ float scale(float é)"
    assert facts.definitions[read.parent].qualname == "dcpx::frames::Reader"


def test_identifiers_and_words(facts: Facts) -> None:
    assert facts.identifiers["get_frame"] == (4, 43)
    assert facts.identifiers["local"] == (42, 45)
    assert facts.identifiers["Reader"] == (23, 25, 26, 29, 30, 49)
    assert "strcat" not in facts.identifiers
    assert "int" not in facts.identifiers
    assert facts.words["frames"] == (4, 58)
    assert "copyright" not in facts.words


def test_problems_are_one_for_a_file() -> None:
    facts = language_of("a.cpp", "").read("a.cpp", "int f() {\n  if (x {\n}\nint g( { }\nint ok;\n")
    assert len(facts.problems) == 1
    assert facts.problems[0].text.endswith("parse as C++; the rest was read")


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.h", "int f(void);\n", "C"),
        ("a.h", "namespace a { int f(); }\n", "C++"),
        ("a.h", "std::string f();\n", "C++"),
        ("a.c", "int f(void);\n", "C"),
        ("a.hpp", "int f(void);\n", "C++"),
        ("a.cu", "int f(void);\n", "CUDA"),
    ],
)
def test_a_header_is_c_where_nothing_is_of_cpp(path: str, text: str, language: str) -> None:
    assert language_of(path, "").read(path, text).language == language


def test_cuda() -> None:
    text = "__global__ void add(float* x, int n) {\n  __shared__ float part[32];\n  __syncthreads();\n}\n"
    facts = language_of("a.cu", "").read("a.cu", text)
    assert found(facts) == [("function", "add", 1, 4, 16)]
    assert facts.definitions[0].labels == ("__global__",)
    assert looked(facts) == [(1, "performance", "kernels"), (2, "performance", "shared memory")]


def test_c() -> None:
    text = (
        "#ifndef A_H\n#define A_H\ntypedef int (*compare)(int, int);\nunion U { int i; float f; };\n"
        "extern int count, *total;\n#endif\n"
    )
    facts = language_of("a.h", "").read("a.h", text)
    assert found(facts) == [
        ("type", "compare", 3, 3, 14),
        ("union", "U", 4, 4, 6),
        ("member", "U::i", 4, 4, 14),
        ("member", "U::f", 4, 4, 23),
        ("variable", "count", 5, 5, 11),
        ("variable", "total", 5, 5, 19),
    ]


def test_columns_count_characters() -> None:
    facts = language_of("a.cpp", "").read("a.cpp", "/* é漢 */ int f();\n")
    assert found(facts) == [("function", "f", 1, 1, 13)]
