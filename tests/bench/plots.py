"""Bars as SVG: for each row of a section a panel, for each entry a bar of the median, with a line from the least to the largest round."""

from html import escape

WIDTH, LABEL, BAR, GAP, TITLE, RIGHT = 860, 190, 16, 6, 30, 120
OURS, LIMIT, OTHERS = "#0b6e4f", "#9a9a9a", "#4a7fb5"


def colour(name):
    return OURS if name.startswith("monoceros") else LIMIT if name == "raw" else OTHERS


def panel(y, title, bars, unit, told):
    """The lines of one panel, and the y below it. bars: (name, median, least, largest)."""
    lines = [f'<text x="0" y="{y + 18}" class="title">{escape(title)}</text>']
    y += TITLE
    most = max(high for _, _, _, high in bars) or 1
    scale = (WIDTH - LABEL - RIGHT) / most
    for name, median, low, high in bars:
        middle = y + BAR / 2
        lines.append(f'<text x="{LABEL - 8}" y="{middle + 4}" class="name">{escape(name)}</text>')
        lines.append(f'<rect x="{LABEL}" y="{y}" width="{max(median * scale, 1):.1f}" height="{BAR}" fill="{colour(name)}"/>')
        if high > low:
            left, right = LABEL + low * scale, LABEL + high * scale
            lines.append(f'<path d="M{left:.1f} {middle}H{right:.1f}M{left:.1f} {middle - 4}v8M{right:.1f} {middle - 4}v8" class="spread"/>')
        lines.append(f'<text x="{LABEL + high * scale + 6:.1f}" y="{middle + 4}">{escape(told(median))} {escape(unit)}</text>')
        y += BAR + GAP
    return lines, y + 10


def svg(panels, told):
    """panels: (title, unit, bars)."""
    lines, y = [], 0
    for title, unit, bars in panels:
        more, y = panel(y, title, bars, unit, told)
        lines += more
    style = ("text{font:12px sans-serif;fill:#222}.title{font-weight:bold}.name{text-anchor:end}.spread{stroke:#222;fill:none}"
             "@media(prefers-color-scheme:dark){text{fill:#ddd}.spread{stroke:#ddd}}")
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">', f"<style>{style}</style>", *lines, "</svg>", ""])
