"""Line charts with logarithmic axes as SVG, in the colours of `plot`."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

from harness.plot import LINE, OURS, TEXT

WIDTH, HEIGHT = 300, 200
LEFT, RIGHT, ABOVE, BELOW = 60, 20, 50, 40
COLUMNS = 2
COLOURS = {"tcs": OURS, "l1b": "#0f766e", "go": "#94a3b8"}
GRID = "#e2e8f0"


@dataclass(frozen=True)
class Panel:
    """Curves by their names, each a list of `(x, y)`; what is not positive is left out."""

    title: str
    below: str
    curves: dict
    # What stands at the ticks of the x axis.
    ticks: dict


def svg(title, panels):
    """Draws the panels, two in a row."""
    rows = -(-len(panels) // COLUMNS)
    across, down = LEFT + WIDTH + RIGHT, ABOVE + HEIGHT + BELOW
    width, height = COLUMNS * across + 20, rows * down + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" fill="{TEXT}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="20" y="28" font-size="16">{escape(title)}</text>',
        *legend(width, {name for panel in panels for name in panel.curves}),
    ]
    for number, panel in enumerate(panels):
        left, top = number % COLUMNS * across, 40 + number // COLUMNS * down
        parts.append(f'<g transform="translate({left + LEFT} {top + ABOVE})">')
        parts += drawn(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def legend(width, names):
    for number, name in enumerate(sorted(names, reverse=True)):
        x = width - 80 * (number + 1)
        colour = COLOURS.get(name, LINE)
        yield f'<path d="M{x} 24h18" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{x + 24}" y="28">{escape(name)}</text>'


def drawn(panel):
    curves = {
        name: [(x, y) for x, y in points if x > 0 and y > 0]
        for name, points in panel.curves.items()
    }
    points = [point for curve in curves.values() for point in curve]
    yield f'<text x="0" y="-14" font-weight="bold">{escape(panel.title)}</text>'
    below = escape(panel.below)
    yield f'<text x="{WIDTH / 2}" y="{HEIGHT + 32}" text-anchor="middle">{below}</text>'
    if not points:
        return
    xs = [x for x, _ in points] + [x for x in panel.ticks if x > 0]
    marks = steps(min(y for _, y in points), max(y for _, y in points))
    for x, text in panel.ticks.items():
        at = place(x, min(xs), max(xs)) * WIDTH
        yield f'<path d="M{at:.1f} 0V{HEIGHT}" stroke="{GRID}"/>'
        yield f'<text x="{at:.1f}" y="{HEIGHT + 15}" text-anchor="middle">{escape(text)}</text>'
    for y in marks:
        at = HEIGHT - place(y, marks[0], marks[-1]) * HEIGHT
        yield f'<path d="M0 {at:.1f}H{WIDTH}" stroke="{GRID}"/>'
        yield f'<text x="-6" y="{at + 4:.1f}" text-anchor="end">{short(y)}</text>'
    for name, curve in curves.items():
        colour = COLOURS.get(name, LINE)
        places = [
            (
                place(x, min(xs), max(xs)) * WIDTH,
                HEIGHT - place(y, marks[0], marks[-1]) * HEIGHT,
            )
            for x, y in curve
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
        yield f'<path d="{dots}" stroke="{colour}" stroke-width="5" stroke-linecap="round"/>'


def place(value, low, high):
    """Returns where a value lies between two others, from 0 to 1."""
    if low == high:
        return 0.5
    return math.log(value / low) / math.log(high / low)


def steps(low, high):
    """Returns round numbers around and between two values: powers of ten, or 1, 2, 5 of each."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    fine = high / low < 100
    values = [
        digit * 10.0**power
        for power in range(first, last + 1)
        for digit in ([1, 2, 5] if fine else [1])
    ]
    start = max(value for value in values if value <= low * 1.000001)
    end = min(value for value in values if value >= high * 0.999999)
    return [value for value in values if start <= value <= end]


def short(value):
    """Writes a round number with at most four characters and its unit."""
    for unit, size in [("G", 1e9), ("M", 1e6), ("k", 1e3)]:
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"
