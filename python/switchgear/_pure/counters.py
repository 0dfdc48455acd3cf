"""The word and the counters, and the lock that both change under."""

from threading import Lock

from switchgear._pure.locks import next_lock
from switchgear._pure.word import FAILURE, SUCCESS, Word
from switchgear.state import State


class Counters:
    """Publish words and count. Nothing is called under the lock, see ``locks``."""

    __slots__ = (
        *("_lock", "_word"),
        *("_successful", "_failed", "_ignored", "_rejected", "_timed_out", "_late", "_observed"),
        *("_times_opened", "_times_half_opened", "_open_ns", "_measured_from_ns"),
    )

    _lock: Lock
    _word: Word
    _successful: int
    _failed: int
    _ignored: int
    _rejected: int
    _timed_out: int
    _late: int
    _observed: int
    _times_opened: int
    _times_half_opened: int
    _open_ns: int
    """Time in the spells of OPEN that have ended."""
    _measured_from_ns: int
    """When the counters were set to 0 last: a spell that began before counts from here."""

    def _begin(self, word: Word) -> None:
        self._lock = next_lock()
        self._word = word
        self._zero(0)

    def _zero(self, now_ns: int) -> None:
        with self._lock:
            self._successful = self._failed = self._ignored = self._rejected = self._timed_out = self._late = (
                self._observed
            ) = 0
            self._times_opened = self._times_half_opened = self._open_ns = 0
            self._measured_from_ns = now_ns

    def _swap(self, old: Word, new: Word, now_ns: int) -> bool:
        """Publish ``new`` if ``old`` is still the word."""
        with self._lock:
            if self._word is not old:
                return False
            self._word = new
            if old.state is new.state:
                return True
            if old.state is State.OPEN:
                since_ns = old.since_ns
                if since_ns < self._measured_from_ns:
                    since_ns = self._measured_from_ns
                # Another thread may have read its clock before us and swapped after.
                if now_ns > since_ns:
                    self._open_ns += now_ns - since_ns
            if new.state is State.OPEN:
                self._times_opened += 1
            elif new.state is State.HALF_OPEN:
                self._times_half_opened += 1
        return True

    def _count(self, outcome: int, late: bool, timed_out: bool) -> None:
        with self._lock:
            if outcome == SUCCESS:
                self._successful += 1
            elif outcome == FAILURE:
                self._failed += 1
            else:
                self._ignored += 1
            if late:
                self._late += 1
            if timed_out:
                self._timed_out += 1

    def _count_rejection(self) -> None:
        with self._lock:
            self._rejected += 1

    def _count_observed(self) -> None:
        with self._lock:
            self._observed += 1

    def _read(self, now_ns: int) -> tuple[int, int, int, int, int, int, int, int, int, int, int]:
        # Only loads under the lock: a tuple built there could start a collection and with it somebody's finaliser.
        with self._lock:
            word = self._word
            successful, failed = self._successful, self._failed
            ignored, rejected = self._ignored, self._rejected
            timed_out, late, observed = self._timed_out, self._late, self._observed
            opened, half_opened = self._times_opened, self._times_half_opened
            open_ns, measured_from_ns = self._open_ns, self._measured_from_ns
        if word.state is State.OPEN:
            open_ns += max(0, now_ns - max(word.since_ns, measured_from_ns))
        total = successful + failed + rejected + ignored
        open_ms = open_ns // 1_000_000
        return total, successful, failed, rejected, open_ms, opened, half_opened, ignored, timed_out, late, observed
