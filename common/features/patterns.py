"""The regular expressions that Python and Java, and so Spark and Flink, read alike.

Single characters of printable ASCII, a dot for any character, classes such as ``[A-Z0-9_.-]`` and ``[^ ]``; quantifiers
``? * + {n} {n,} {n,m}`` on these, ``? {n} {n,m}`` on groups; ``|`` for alternatives. No backslash (Spark reads it as an
escape in a literal, and Flink does not), no lazy or possessive quantifier, no look-around, no back-reference, no flag.
A group is not repeated without a bound: Java would need a stack frame for each turn, and either of them may take
exponential time.
"""

import re

LARGEST_COUNT = 1000

_IN_CLASS = r"[ !-%'-,./0-Z_-{}]"  # printable ASCII but & - [ \ ] ^ | ~
_TOKEN = re.compile(
    rf"(?P<one>[ !\"#%&',/0-9:;<=>@A-Z_`a-z~-]|\.|\[\^?(?:{_IN_CLASS}-(?:{_IN_CLASS}|~)|{_IN_CLASS})+-?\])"
    r"(?P<times>[*+?]|\{\d+(?:,\d*)?\})?"
    r"|(?P<open>\()(?!\?)"
    r"|(?P<close>\))(?P<turns>\?|\{\d+(?:,\d+)?\})?"
    r"|(?P<other>\|)"
)


def check_pattern(pattern: str) -> str:
    """The pattern itself; raises ValueError where it uses what the engines do not read alike, and says where."""
    at, depth, empty = 0, 0, True
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None or (empty and (token["close"] or token["other"])) or (token["close"] and depth == 0):
            raise ValueError(
                f"pattern {pattern!r} at {at}: engines do not share this syntax; see common.features.patterns"
            )
        depth += bool(token["open"]) - bool(token["close"])
        empty = bool(token["open"] or token["other"])
        counts = [int(digits) for digits in re.findall(r"\d+", token["times"] or token["turns"] or "")]
        if counts and (max(counts) > LARGEST_COUNT or counts != sorted(counts)):
            raise ValueError(f"pattern {pattern!r} at {at}: counts go up, to at most {LARGEST_COUNT}")
        at = token.end()
    if depth or empty:
        raise ValueError(f"pattern {pattern!r} ends too early: a group is open, or nothing stands where text must")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from None
    return pattern
