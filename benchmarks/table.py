"""The table of speed: its rows, what each number was to be, and the files that hold it."""

import dataclasses
import datetime
import statistics

from etils import epy

from gan import storage

with epy.lazy_imports():
    from benchmarks.zoo import tables
    from benchmarks.zoo.jobs import speed

FILE_FOR_PEOPLE, FILE_FOR_PROGRAMS = "bench.md", "bench.json"
REACHED, MISSED, SHOWN, LEFT_OUT = "reached", "missed", "shown", "left out"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A number that is judged, and what it was made of.

    Attributes:
      what: what was measured, for people who know the project.
      unit: of the measured numbers, such as "images/s" or "s".
      measured: {contestant: [number of each turn]}.
      judged: what the number is, such as "gan / fastest peer" or "seconds".
      number: what is judged; None where it could not be measured, and `remark` says why.
      at_least, at_most: what it is to be; neither for a row that only shows.
      remark: what a reader has to know beside.
    """

    what: str
    unit: str
    measured: dict
    judged: str = ""
    number: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    remark: str = ""

    @property
    def wanted(self):
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)

    @property
    def verdict(self):
        if self.number is None:
            return LEFT_OUT
        if not self.wanted:
            return SHOWN
        high_enough = self.at_least is None or self.number >= self.at_least
        low_enough = self.at_most is None or self.number <= self.at_most
        return REACHED if high_enough and low_enough else MISSED

    def __str__(self):
        number = "-" if self.number is None else text(self.number)
        return f"{self.what}: {self.judged} {number} ({self.wanted or 'no bound'}): {self.verdict}"

    def as_json(self):
        """Returns the row as plain data, with the quartiles of what was measured."""
        quartiles = {name: spread(numbers) for name, numbers in self.measured.items()}
        return dataclasses.asdict(self) | {"quartiles": quartiles, "wanted": self.wanted, "verdict": self.verdict}


def spread(numbers):
    """Returns [lower quartile, median, upper quartile]."""
    return statistics.quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else list(numbers) * 3


def text(number):
    """Returns a number with three digits."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def add(folder, name, rows, failure, settings):
    """Puts what came of a benchmark into the table of a folder, in place of what it said before.

    Args:
      folder: of the table, an `epath.Path`.
      name: of the benchmark.
      rows: its `Row`s.
      failure: why it has none; "" where it has.
      settings: {name: value}, what a reader has to know to do it again.
    """
    file = folder / FILE_FOR_PROGRAMS
    found = storage.read_json(file) if file.exists() else {}
    found[name] = {
        "date": f"{datetime.date.today()}",
        "machine": speed.machine(),
        "settings": settings,
        "failure": failure,
        "rows": [row.as_json() for row in rows],
    }
    storage.write_json(file, found)
    storage.write_text(folder / FILE_FOR_PEOPLE, in_markdown(found))


def in_markdown(found):
    """Returns the table, of the content of `bench.json`, as Markdown."""
    parts = [_part(name, result) for name, result in sorted(found.items())]
    return "\n\n".join(parts) + "\n"


def in_readme(found):
    """Returns what the README says of it, of the content of `bench.json`, as Markdown."""
    cells, made = [], {}
    for name, result in sorted(found.items(), reverse=True):  # training comes first
        cells += [[row["what"], row["judged"], *_cells(row)[3:]] for row in result["rows"] if row["wanted"]]
        if result["failure"]:
            cells.append([name, "-", "-", "-", f"failed: {result['failure']}"])
        made.setdefault(result["machine"], []).append(f"`{name}` {result['date']}, {result['settings']['turns']} turns")
    machines = [f"{machine}: {'; '.join(benchmarks)}." for machine, benchmarks in made.items()]
    return "\n\n".join([tables.markdown(("what", "judged", "number", "wanted", "verdict"), cells), *machines])


def _part(name, result):
    settings = ", ".join(f"{setting} {value}" for setting, value in result["settings"].items())
    heading = f"**{name}**, {result['date']}, {result['machine']}; {settings}"
    if result["failure"]:
        return f"{heading}\n\nfailed: {result['failure']}"
    titles = ("what", "medians [quartiles]", "judged", "number", "wanted", "verdict")
    return "\n\n".join(
        [heading, tables.markdown(titles, [_cells(row) for row in result["rows"]]), *_remarks(result["rows"])]
    )


def _cells(row):
    measured = [
        f"{contestant} {text(middle)} [{text(low)}, {text(high)}] {row['unit']}"
        for contestant, (low, middle, high) in row["quartiles"].items()
    ]
    number = "-" if row["number"] is None else text(row["number"])
    return [row["what"], "<br>".join(measured) or "-", row["judged"], number, row["wanted"] or "-", row["verdict"]]


def _remarks(rows):
    return [f"{row['what']}: {row['remark']}" for row in rows if row["remark"]]
