"""The demo's verdict: what it demands, and what it finds in books that disagree."""

import asyncio
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from switchgear import State
from switchgear.demo import chart
from switchgear.demo.exchange import ACCEPTED, CANCELLED, RECEIVED, Exchange, entries
from switchgear.demo.faults import FAULTS, Fault
from switchgear.demo.ledger import Fate, Ledger, Order, disagreements
from switchgear.demo.record import Change, Phase, Sample
from switchgear.demo.system import BREAKERS
from switchgear.demo.trader import Trader
from switchgear.demo.verdict import unmet

TRIPS, CONTAINED = FAULTS[0], next(fault for fault in FAULTS if not fault.trips)


def phase(fault: Fault, *opened: str, fell_back: bool = True, sick: str = "") -> Phase:
    changes = [Change(1.0, service, State.OPEN, "opened") for service in opened]
    healed = {service: service != sick for service in BREAKERS}
    return Phase(fault, 0.5, 2.0, changes, Counter({fault.fallback: int(fell_back)}), healed)


@pytest.mark.parametrize(
    ("seen", "problems"),
    [
        (phase(TRIPS, *TRIPS.trips), []),
        (phase(CONTAINED), []),
        (phase(TRIPS), ["quotes-errors: market_data_api did not open"]),
        (phase(TRIPS, *TRIPS.trips, "database"), ["quotes-errors: database opened, too"]),
        (phase(CONTAINED, "e2b_sandbox"), ["code-loops: e2b_sandbox opened, too"]),
        (
            phase(TRIPS, *TRIPS.trips, fell_back=False),
            ["quotes-errors: nobody fell back on 'last known price'"],
        ),
        (phase(TRIPS, *TRIPS.trips, sick="database"), ["quotes-errors: database did not heal"]),
    ],
)
def test_every_demand_that_is_not_met_is_named(seen: Phase, problems: list[str]) -> None:
    assert problems == unmet([seen], [seen.fault])


def test_a_fault_that_never_came_and_a_change_before_the_first_are_named() -> None:
    stray = Change(0.1, "database", State.OPEN, "opened")
    assert unmet([], [TRIPS], [stray]) == [
        "database became OPEN before any fault",
        "quotes-errors: the time was over before it came",
    ]


def ledger(**fates: Fate) -> Ledger:
    book = Ledger()
    for order, fate in fates.items():
        book.settle(Order(order, "AAPL", "buy", 1.0), fate)
    book.unwritten.clear()
    return book


def test_books_that_agree() -> None:
    """Accepted orders are in all books once; refused and rejected ones in none, and a rejected one was never sent."""
    book = ledger(a=Fate.ACCEPTED, b=Fate.REFUSED, c=Fate.REJECTED)
    assert [] == disagreements(book, received=["a", "b"], accepted=["a"], written=["a"])


@pytest.mark.parametrize(
    ("fates", "received", "accepted", "written", "problem"),
    [
        ({"a": Fate.ACCEPTED}, "a", "a", "", "1 accepted orders are not in the database, 0 in it were not accepted"),
        ({}, "", "", "a", "0 accepted orders are not in the database, 1 in it were not accepted"),
        ({"a": Fate.ACCEPTED}, "aa", "a", "a", "1 orders were received more than once"),
        ({"a": Fate.ACCEPTED}, "a", "aa", "a", "1 orders were accepted more than once"),
        ({"a": Fate.ACCEPTED}, "a", "a", "aa", "1 orders were written more than once"),
        ({"a": Fate.REJECTED}, "a", "", "", "1 orders that the breaker rejected reached the venue"),
        ({"a": Fate.REFUSED}, "a", "a", "a", "the venue and this side disagree on the fate of 1 orders"),
        ({"a": Fate.UNKNOWN}, "a", "", "", "1 orders are unknown and 0 unwritten at the end"),
    ],
)
def test_books_that_disagree(fates: dict[str, Fate], received: str, accepted: str, written: str, problem: str) -> None:
    assert [problem] == disagreements(ledger(**fates), received=received, accepted=accepted, written=written)


def test_an_order_is_unwritten_from_its_acceptance_and_unknown_until_it_is_settled() -> None:
    book, order = Ledger(), Order("a", "AAPL", "buy", 1.0)
    book.settle(order, Fate.UNKNOWN)
    assert (book.unknown, book.unwritten) == ({"a": order}, {})
    assert book.recovered == 0
    book.settle(order, Fate.ACCEPTED)
    assert (book.unknown, book.unwritten, book.count(Fate.ACCEPTED)) == ({}, {"a": order}, 1)
    assert book.recovered == 1


def test_an_order_that_the_end_of_the_day_cuts_short_is_asked_after() -> None:
    """A trader who is cancelled while an order is out knows that he does not know what became of it."""

    class Venue:
        async def post(self, url: str, body: object) -> None:
            await asyncio.sleep(60)

    book, order = Ledger(), Order("a", "AAPL", "buy", 1.0)
    trader = Trader(cast("Any", SimpleNamespace(order_execution_api=Venue())), book)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await trader._place(order)

    asyncio.run(main())
    assert book.unknown == {"a": order}


def test_the_venue_remembers_across_its_death(tmp_path: Path) -> None:
    """An order is accepted once, or never where it was cancelled first, also by the process that comes after.

    A line that was cut off counts for nothing.
    """
    journal = tmp_path / "journal"
    first = Exchange(journal)
    first.receive("a")
    assert [first.accept("a"), first.accept("a"), first.cancel("a")] == [True, True, False]
    assert [first.cancel("c"), first.cancel("c"), first.accept("c")] == [True, True, False]
    with journal.open("a") as file:
        file.write("accepted b")
    assert entries(journal) == {RECEIVED: ["a"], ACCEPTED: ["a"], CANCELLED: ["c"]}
    second = Exchange(journal)
    assert (second.has("a"), second.has("b"), second.accept("a"), second.accept("c")) == (True, False, True, False)
    assert entries(journal)[ACCEPTED] == ["a"]


def test_the_chart_of_two_samples() -> None:
    """The shortest run there can be is drawn, too."""
    closed, opened = (dict.fromkeys(BREAKERS, state) for state in (State.CLOSED, State.OPEN))
    drawn = chart.svg([Sample(0.1, closed, 0), Sample(0.2, opened, 7)], [phase(TRIPS)])
    assert drawn.count("<title>CLOSED</title>") == len(BREAKERS)
    assert drawn.endswith("</svg>\n")
