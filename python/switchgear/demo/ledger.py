"""What became of every order, and whether the venue, the database and this side agree on it at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


@unique
class Fate(StrEnum):
    """What this side knows of an order."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """The venue answered, and not with yes."""
    REJECTED = "rejected"
    """The breaker was open: it was never sent."""
    UNKNOWN = "unknown"
    """It was sent, and no answer came."""


class Order(NamedTuple):
    """One order."""

    id: str
    symbol: str
    side: str
    price: float


@dataclass
class Ledger:
    """The orders by their fate, and those that are yet to be written to the database."""

    fates: dict[str, Fate] = field(default_factory=dict)
    unknown: dict[str, Order] = field(default_factory=dict)
    unwritten: dict[str, Order] = field(default_factory=dict)
    recovered: int = 0
    """Orders that no answer came to, and that the venue had accepted all the same."""

    def settle(self, order: Order, fate: Fate) -> None:
        """Note what became of an order."""
        self.fates[order.id] = fate
        if self.unknown.pop(order.id, None) is not None and fate is Fate.ACCEPTED:
            self.recovered += 1
        if fate is Fate.UNKNOWN:
            self.unknown[order.id] = order
        elif fate is Fate.ACCEPTED:
            self.unwritten[order.id] = order

    def count(self, fate: Fate) -> int:
        """Return how many orders met this fate."""
        return sum(each is fate for each in self.fates.values())


def disagreements(
    ledger: Ledger, *, received: Iterable[str], accepted: Iterable[str], written: Iterable[str]
) -> list[str]:
    """Name everything in which three books differ; nothing differs where the list is empty.

    Args:
        ledger: This side's.
        received: The orders that the venue was asked for, once for each time.
        accepted: The orders that the venue accepted, once for each time.
        written: The orders in the database, once for each row.
    """
    accepted, written, received = list(accepted), list(written), list(received)
    problems = []
    if ledger.unknown or ledger.unwritten:
        problems.append(f"{len(ledger.unknown)} orders are unknown and {len(ledger.unwritten)} unwritten at the end")
    for name, book in (("received", received), ("accepted", accepted), ("written", written)):
        if len(set(book)) != len(book):
            problems.append(f"{len(book) - len(set(book))} orders were {name} more than once")
    lost, invented = set(accepted) - set(written), set(written) - set(accepted)
    if lost or invented:
        problems.append(f"{len(lost)} accepted orders are not in the database, {len(invented)} in it were not accepted")
    sent = {order for order, fate in ledger.fates.items() if fate is Fate.REJECTED} & set(received)
    if sent:
        problems.append(f"{len(sent)} orders that the breaker rejected reached the venue")
    wrong = {order for order, fate in ledger.fates.items() if fate is Fate.ACCEPTED} ^ set(accepted)
    if wrong:
        problems.append(f"the venue and this side disagree on the fate of {len(wrong)} orders")
    return problems
