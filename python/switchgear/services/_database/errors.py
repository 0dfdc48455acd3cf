"""What a database call can end with that no database said."""


class PoolExhaustedError(Exception):
    """Every connection of our own pool was in use for as long as a call may wait for one: the database said nothing."""


class RowDecodeError(ValueError):
    """The rows came, and are not of the ``type`` that was asked for."""


class TransactionEndedError(RuntimeError):
    """The database has ended the transaction before its body did: nothing of it is kept, and it takes no more.

    A deadlock's victim, an interrupted write and, on PostgreSQL, any statement that failed are the usual causes.
    """


def ended() -> TransactionEndedError:
    """Return what a statement of a transaction that is over raises."""
    return TransactionEndedError("the transaction has ended, and was rolled back where it was not committed")
