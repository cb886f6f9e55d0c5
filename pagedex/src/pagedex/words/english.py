"""English words: which of them say something, and which are forms of one another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import snowballstemmer

# What every text holds and nobody looks up: articles, pronouns, prepositions, conjunctions, auxiliary verbs.
STOP_WORDS = frozenset(
    """ a about above across after again against all almost along already also although always am among an and another
    any anybody anyone anything are aren around as at away be because been before behind being below beneath beside
    besides between beyond both but by came can cannot come could couldn did didn do does doesn doing don done down
    during each either else enough etc even ever every everybody everyone everything everywhere except few for from
    further get gets getting give given gives go goes going got had hadn has hasn have haven having he hence her here
    hers herself him himself his how however i if in indeed inside instead into is isn it its itself just keep kept
    least less let lets like likely made make makes making many may maybe me might mine more most mostly much must
    mustn my myself near nearly need needs neither never next no nobody none nor not nothing now nowhere of off often
    on once one ones only onto or other others otherwise our ours ourselves out outside over own per perhaps please
    quite rather really same say says see seem seems seen several shall shan she should shouldn since so some somebody
    someone something sometimes somewhere soon still such take taken takes than that the their theirs them themselves
    then thence there therefore these they thing things this those though through throughout thus till to together too
    toward towards under underneath unless until up upon us use used uses using usually very via want wants was wasn
    way ways we well were weren what whatever when whenever where whereas wherever whether which while who whoever
    whole whom whose why will with within without won would wouldn yes yet you your yours yourself yourselves
    """.split()
)

# A word is letters, in any script, perhaps with hyphens or an apostrophe inside.
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001
_SHORTEST = 3
_LONGEST = 40


def words_of(text: str) -> Iterator[str]:
    """The words of a text that say something, in lower case, in their order, as often as they stand there."""
    for match in _WORD.finditer(text):
        for word in _parts(match.group().lower()):
            if _SHORTEST <= len(word) <= _LONGEST and word not in STOP_WORDS:
                yield word


def _parts(word: str) -> Iterator[str]:
    # "reader's" is "reader", "doesn't" is "doesn", a stop word; "read-ahead" is itself and both halves.
    word = re.split("['’]", word)[0]  # noqa: RUF001
    yield word
    if "-" in word:
        yield from word.split("-")


@lru_cache(maxsize=1 << 17)
def stem(word: str) -> str:
    """What the forms of an English word have in common: "truncated" and "truncation" are "truncat" (Porter's second
    stemmer, in snowballstemmer). Words in other scripts come back as they are."""
    return str(_STEMMER.stemWord(word)) if word.isascii() else word


_STEMMER = snowballstemmer.stemmer("english")
