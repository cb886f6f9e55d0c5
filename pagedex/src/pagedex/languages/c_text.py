"""The text of C, C++ and CUDA: their keywords, and what the grammars don't know of it.

Headers lean on macros that a grammar takes for types. What stands in front of a declaration like an attribute is
blanked out; the text keeps its length, so that all places stay.
"""

from __future__ import annotations

import re

from pagedex.languages.nodes import word_set

C_KEYWORDS = word_set(
    """
    auto break case char const continue default define defined do double elif else endif enum error extern float for
    goto if ifdef ifndef include inline int long once pragma register restrict return short signed sizeof static struct
    switch typedef undef union unsigned void volatile while
    """
)
CPP_KEYWORDS = C_KEYWORDS | word_set(
    """
    alignas alignof and bool catch char16_t char32_t char8_t class co_await co_return co_yield concept const_cast
    consteval constexpr constinit decltype delete dynamic_cast explicit export false final friend if mutable
    namespace new noexcept not nullptr operator or override private protected public reinterpret_cast requires
    static_assert static_cast template this thread_local throw true try typeid typename using virtual wchar_t
    """
)

# TORCH_API void f(): an attribute's name in front of another word, where it is neither defined nor asked for.
_CAPITALS = re.compile(
    rb"(?<![\w#])(?<!define )(?<!undef )(?<!ifdef )(?<!ifndef )[A-Z][A-Z0-9]*_[A-Z0-9_]*"
    rb"(?=[ \t\n]+(?!operator\b|final\b|override\b)[A-Za-z_:~])"
)
# NAMESPACE_BEGIN(x) or DECLARE_DISPATCH(f, g) as a whole line, with neither a semicolon nor a body behind it.
_LINE = re.compile(rb"^[A-Z][A-Z0-9]*_[A-Z0-9_]*(?:\([^()\n]*\))?[ \t]*$(?!\s*[{:;,)=])", re.MULTILINE)
_AFTER_CLASS = re.compile(rb"\b((?:class|struct|union)\s+)([A-Z][A-Z0-9_]*(?:\([^()\n]*\))?)(?=\s+[A-Za-z_])")
_UNDERSCORED = re.compile(
    rb"\b__(?!asm|attribute|declspec|typeof|volatile|int\d|float\d|builtin)[A-Za-z]\w*(?=[ \t\n]+[A-Za-z_:~])"
)
_ALIGNED = re.compile(rb"\b__(?:launch_bounds|align)__\s*\([^()\n]*\)")
_BRACES = re.compile(rb"(=\s*)\{([^{}();\n]*)\}(?=\s*[,)])")
_HAS_INCLUDE = re.compile(rb"(__has_include(?:_next)?\s*\()(<[^<>\n]*>)")


def _blank(match: re.Match[bytes]) -> bytes:
    return re.sub(rb"[^\n]", b" ", match[0])


def soften_cuda(data: bytes) -> bytes:
    data = _AFTER_CLASS.sub(lambda match: match[1] + b" " * len(match[2]), data)
    data = _LINE.sub(_blank, _CAPITALS.sub(_blank, data))
    data = _HAS_INCLUDE.sub(lambda match: match[1] + b"1".ljust(len(match[2])), data)
    return _BRACES.sub(lambda match: match[1] + b"0".ljust(len(match[2]) + 2), data)


def soften(data: bytes) -> bytes:
    data = soften_cuda(data)
    return _UNDERSCORED.sub(_blank, _ALIGNED.sub(_blank, data)) if b"__" in data else data


# What a header that is C can't hold.
OF_CPP = re.compile(
    r"\b(?:namespace|template|class|public|constexpr|nullptr|typename|using)\b(?!\s*[=;,)])|::|\bextern\s+\"C\""
)
