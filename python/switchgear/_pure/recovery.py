"""How long OPEN lasts, and how long HALF_OPEN may: the same arithmetic as the core's, to the bit."""

from typing import TYPE_CHECKING, Final

from switchgear.state import State

if TYPE_CHECKING:
    from switchgear._pure.rules import Rules
    from switchgear._pure.word import Word

_MASK: Final = (1 << 64) - 1
_ATTEMPTS: Final = 10_000
"""More attempts let nothing grow further."""


def attempts(word: "Word", now_ns: int) -> int:
    """Return how many attempts will have failed when the word opens now, in a row."""
    if word.state is State.HALF_OPEN:
        return word.attempts + 1
    # Who stays closed for a reset timeout begins anew.
    return 0 if now_ns - word.since_ns >= word.rules.reset_ns else word.attempts


def open_ns(rules: "Rules", failed: int, generation: int) -> int:
    """Return how long OPEN lasts that begins with ``generation`` after so many failed attempts."""
    if rules.backoff is None:
        return rules.reset_ns
    multiplier, max_ns, jitter, seed = rules.backoff
    longest, duration = float(max_ns), float(rules.reset_ns)
    for _ in range(min(failed, _ATTEMPTS)):
        if duration >= longest:
            break
        duration *= multiplier
    # So far below the longest that chance has room on both sides: cut off, half of all breakers would probe at once.
    duration = min(duration, longest / (1.0 + jitter))
    duration *= 1.0 + _drawn_jitter(jitter, seed, generation)
    return max(1, int(min(duration, longest)))


def jitter(rules: "Rules", generation: int) -> float | None:
    """Return the part that chance added to the open time that began with a generation, or took; None: it had no say."""
    return None if rules.backoff is None else _drawn_jitter(*rules.backoff[2:], generation)


def _drawn_jitter(jitter: float, seed: int, generation: int) -> float:
    return jitter * (2.0 * drawn(seed + generation) - 1.0)


def drawn(number: int) -> float:
    """Return what a number stands for: 0 to below 1, in 2^53 steps."""
    return (_mix(number & _MASK) >> 11) / (1 << 53)


def _mix(number: int) -> int:
    """SplitMix64 (Steele, Lea and Flood 2014): one step of it makes 64 even bits of any number."""
    z = (number + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK
    return z ^ z >> 31
