"""A plot of ratios as SVG, without a library: a panel for each work, a bar for each system."""

from xml.sax.saxutils import escape

PANEL, LABEL, BAR, GAP, TOP = 300, 120, 14, 6, 60
SCALE = 1.5  # The ratio at the right edge of a panel; longer bars end there, with their number.
COLUMNS = 3
OURS, OTHERS, LINE, TEXT = "#c2410c", "#94a3b8", "#334155", "#0f172a"


def svg(title, works, systems, cells):
    """Draws `cells[work, system]`, each with `ratio`, `low` and `high`."""
    row_height = TOP + len(systems) * (BAR + GAP)
    rows = -(-len(works) // COLUMNS)
    width, height = COLUMNS * (LABEL + PANEL) + 40, rows * row_height + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{TEXT}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="20" y="28" font-size="16">{escape(title)}</text>',
    ]
    for number, work in enumerate(works):
        left = 20 + number % COLUMNS * (LABEL + PANEL) + LABEL
        top = 40 + number // COLUMNS * row_height
        parts += panel(left, top, work, systems, cells)
    return "\n".join([*parts, "</svg>", ""])


def panel(left, top, work, systems, cells):
    bottom = top + 30 + len(systems) * (BAR + GAP)
    one = left + place(1)
    yield f'<text x="{left}" y="{top + 18}" font-weight="bold">{escape(work)}</text>'
    for number, system in enumerate(systems):
        y = top + 30 + number * (BAR + GAP)
        middle = y + BAR - 3
        yield f'<text x="{left - 6}" y="{middle}" text-anchor="end">{escape(system)}</text>'
        cell = cells.get((work, system))
        if cell is None:
            yield f'<text x="{left + 4}" y="{middle}">–</text>'
            continue
        length = place(cell["ratio"])
        color = OURS if system.startswith("tcs") else OTHERS
        yield f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{color}"/>'
        low, high = left + place(cell["low"]), left + place(cell["high"])
        center = y + BAR / 2
        yield f'<path d="M{low:.1f} {center}H{high:.1f}" stroke="{LINE}" stroke-width="2"/>'
        number_at = max(left + length, high) + 4
        yield f'<text x="{number_at:.1f}" y="{middle}" font-size="10">{cell["ratio"]:.2f}</text>'
    yield f'<path d="M{one} {top + 26}V{bottom}" stroke="{LINE}" stroke-dasharray="3 3"/>'


def place(ratio):
    return min(ratio, SCALE) / SCALE * (PANEL - 50)
