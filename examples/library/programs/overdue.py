"""Work out what a reader owes on an overdue loan, and write the reminder that goes on the postcard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

LOAN = timedelta(weeks=3)
GRACE = timedelta(days=3)
PENCE_A_DAY = 5
AT_MOST = 250


@dataclass(frozen=True)
class Loan:
    """One item in one reader's hands."""

    title: str
    reader: str
    taken: date
    is_childs_card: bool = False
    renewals: int = 0

    @property
    def due(self) -> date:
        """Return the last day on which the item is not overdue; each renewal adds a full loan."""
        return self.taken + LOAN * (1 + self.renewals)


def fine(loan: Loan, today: date) -> int:
    """Return what is owed in pence: nothing within three days of grace or on a child's card, never above 2.50.

    Once the grace is over it is charged for as well, from the first day on.
    """
    overdue = today - loan.due
    if overdue <= GRACE or loan.is_childs_card:
        return 0
    return min(overdue.days * PENCE_A_DAY, AT_MOST)


def reminder(loan: Loan, today: date) -> str:
    """Write the postcard: kind at first, firm after a month."""
    owed = fine(loan, today)
    opening = "Perhaps it slipped your mind" if today - loan.due < timedelta(days=30) else "This is our last card"
    amount = f" {owed / 100:.2f} is owed." if owed else " Nothing is owed."
    return f"Dear {loan.reader}, {opening}: “{loan.title}” was due on {loan.due:%d %B}.{amount}"


if __name__ == "__main__":
    print(reminder(Loan("The Riddle of the Sands", "Tomasz", date(2024, 1, 9)), date(2024, 2, 12)))
