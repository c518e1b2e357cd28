"""The time of one command on a machine that is lent by the second: phases with bookings, held against the clock."""

import os
import time

LONGEST_START = 120.0  # seconds


def process_start() -> float:
    """When this process began, on the clock of `time.monotonic`, so that imports count; now, where the system does not
    tell it, or tells what cannot be: a start in the future, or more than LONGEST_START ago.
    """
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rsplit(")", 1)[1].split()[19])
    except OSError:
        return time.monotonic()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - (age if 0 <= age <= LONGEST_START else 0.0)


class Phase:
    """A stretch of the command, from `begin` to `end` at the latest."""

    def __init__(self, name: str, begin: float, end: float):
        self.name, self.begin, self.end = name, begin, end

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.end - time.monotonic())

    @property
    def progress(self) -> float:
        """0 at its begin, 1 at its end, also where it has no length."""
        length = self.end - self.begin
        return min(1.0, (time.monotonic() - self.begin) / length) if length > 0 else 1.0


class TimePlan:
    """`seconds` of wall clock from `began` on, shared out among phases in their order.

    Law: a phase that keeps to its end leaves every later one what that has booked. One phase may book None, what the
    others leave; a phase that ends early leaves its time to that one, if it is still to come. Raises ValueError where
    the bookings do not fit.
    """

    def __init__(self, seconds: float, bookings: dict[str, float | None], began: float | None = None):
        booked = sum(each for each in bookings.values() if each is not None)
        if list(bookings.values()).count(None) > 1:
            raise ValueError(f"bookings {bookings}: at most one phase may book what the others leave")
        if booked >= seconds:
            raise ValueError(f"bookings {bookings}: {booked:g} s are booked of {seconds:g} s; some must be left")
        self.began = process_start() if began is None else began
        self.end, self.bookings, self.taken = self.began + seconds, bookings, {}
        self.current: Phase | None = None

    def begin(self, name: str) -> Phase:
        """Ends the phase before, and begins this one. Phases may be left out, but not come out of order."""
        names = list(self.bookings)
        if name not in names:
            raise ValueError(f"phase {name!r}: the plan has {', '.join(names)}")
        done = [names.index(each) for each in self.taken] + ([names.index(self.current.name)] if self.current else [])
        if done and names.index(name) <= max(done):
            raise ValueError(f"phase {name!r} cannot follow {names[max(done)]!r}")
        now = self.close()
        later = sum(self.bookings[each] or 0 for each in names[names.index(name) + 1 :])
        booked, latest = self.bookings[name], self.end - later
        self.current = Phase(name, now, latest if booked is None else min(now + booked, latest))
        return self.current

    def close(self) -> float:
        """Ends the current phase; the time."""
        # what came before the first phase is the interpreter's and the imports'
        now = time.monotonic()
        if self.current:
            self.taken[self.current.name] = now - self.current.begin
        self.current = None
        return now

    def table(self) -> list[dict]:
        """What each phase booked and took, in seconds, and the command as a whole."""
        rows = [
            {"phase": name, "booked": booked, "taken": self.taken.get(name, 0.0)}
            for name, booked in self.bookings.items()
        ]
        whole = {"phase": "all", "booked": self.end - self.began, "taken": time.monotonic() - self.began}
        before = {"phase": "start", "booked": 0.0, "taken": whole["taken"] - sum(row["taken"] for row in rows)}
        return [before, *rows, whole]
