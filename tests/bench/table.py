# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was measured, as text, as Markdown and as JSON."""
import dataclasses
import json
import os
import statistics
import time


@dataclasses.dataclass
class Cell:
    """Medians of a column's samples; the ratio is taken round by round."""
    seconds: float
    ratio: float
    cpu: float
    bytes: float
    packets: float


@dataclasses.dataclass
class Row:
    work: str
    link: float
    samples: dict  # column -> Samples, or text that says why there are none

    def cell(self, column):
        samples, local = self.samples.get(column), self.samples.get("local")
        if not isinstance(samples, list) or not samples:
            return samples if isinstance(samples, str) else None
        median = {field: statistics.median(getattr(sample, field) for sample in samples) for field in ("seconds", "cpu", "bytes", "packets")}
        ratios = [sample.seconds / home.seconds for sample, home in zip(samples, local)] if isinstance(local, list) else []
        return Cell(ratio=statistics.median(ratios) if ratios else float("nan"), **median)

    def text(self, columns):
        """One line a cell."""
        lines = []
        for column in columns:
            cell = self.cell(column)
            if cell is None:
                continue
            start = f"{self.work:<26}{self.link:>5g} ms  {column:<9}"
            lines.append(start + (f"{cell:>10}" if isinstance(cell, str) else
                                  f"{seconds(cell.seconds):>10}{cell.ratio:>8.2f} ×{cell.cpu * 1000:>9.0f} ms at home"
                                  f"{amount(cell.bytes):>10}{cell.packets:>8.0f} packets"))
        return "\n".join(lines)


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def amount(value):
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def head(options):
    return (f"{os.cpu_count()} processors (load {os.getloadavg()[0]:.1f} before), kernel {os.uname().release}, "
            f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC; medians of {options.rounds} rounds or a multiple; 1 Gbit/s")


def in_words(cell, is_local):
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    ratio = "" if is_local else f" ({cell.ratio:.2f} ×)"
    network = "" if is_local else f", {amount(cell.bytes)}, {cell.packets:.0f} p"
    return f"{seconds(cell.seconds)}{ratio}<br>{cell.cpu * 1000:.0f} ms{network}"


def markdown(head, rows, columns):
    """Seconds and the ratio to home; below it seconds of processor at home, bytes and packets."""
    lines = [head, "", "Each cell: time (ratio to local); processor at home, bytes and packets at home's end of the cable.", "",
             "| work | round trip | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        cells = [in_words(row.cell(column), column == "local") for column in columns]
        lines.append(f"| {row.work} | {row.link:g} ms | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def as_json(head, rows):
    def plain(samples):
        return samples if isinstance(samples, str) else [dataclasses.asdict(sample) for sample in samples]
    return json.dumps({"head": head, "rows": [{"work": row.work, "link_ms": row.link,
                                               "columns": {name: plain(samples) for name, samples in row.samples.items()}}
                                              for row in rows]}, indent=1) + "\n"
