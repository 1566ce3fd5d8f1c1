"""Tell the phase of the Moon on any date, well enough for a tide table on the door (within half a day or so).

Counts mean lunations from a known new Moon. The real Moon runs up to fourteen hours ahead or behind of the mean one,
because its path is an ellipse; a printed almanac is right where this program differs from it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import cos, pi

SYNODIC_MONTH = timedelta(days=29.530588853)
NEW_MOON = datetime(2000, 1, 6, 18, 14, tzinfo=UTC)
NAMES = (
    "new",
    "waxing crescent",
    "first quarter",
    "waxing gibbous",
    "full",
    "waning gibbous",
    "last quarter",
    "waning crescent",
)


def age(moment: datetime) -> timedelta:
    """Return the time since the last new Moon."""
    return (moment - NEW_MOON) % SYNODIC_MONTH


def illuminated(moment: datetime) -> float:
    """Return the fraction of the Moon's face that the Sun lights up, from 0 at new to 1 at full."""
    return (1 - cos(2 * pi * (age(moment) / SYNODIC_MONTH))) / 2


def phase(moment: datetime) -> str:
    """Name the phase: each of the eight names holds for an eighth of the month, centred on its moment."""
    return NAMES[round(age(moment) / SYNODIC_MONTH * 8) % 8]


def next_springs(moment: datetime) -> datetime:
    """Return when the next spring tides are due: a day and a half after the next new or full Moon."""
    half = SYNODIC_MONTH / 2
    return moment + (half - age(moment) % half) + timedelta(days=1.5)


if __name__ == "__main__":
    now = datetime.now(UTC)
    print(f"{phase(now)}, {illuminated(now):.0%} lit; next springs about {next_springs(now):%A %d %B}")
