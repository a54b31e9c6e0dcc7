"""Seconds as bars: a group for each image and network, a bar for each way. Pure."""

from __future__ import annotations

from html import escape

WIDTH, BAR, GAP, LEFT, RIGHT = 860, 14, 10, 190, 70
COLOURS = ("#2b6cb0", "#63b3ed", "#2f855a", "#68d391", "#a0aec0", "#b7791f", "#9f7aea")


def _groups(rows: list[dict]) -> dict[tuple[str, str], list[dict]]:
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["network"], row["image"]), []).append(row)
    return dict(sorted(groups.items()))


def svg(rows: list[dict], title: str = "Seconds to READY") -> str:
    """A picture that needs nothing else. The scale is the longest bar's of each network."""
    ways = list(dict.fromkeys(row["engine"] for row in rows))
    colour = {way: COLOURS[i % len(COLOURS)] for i, way in enumerate(ways)}
    most = {}
    for row in rows:
        most[row["network"]] = max(most.get(row["network"], 0.01), row["seconds"])
    parts, y, x = [], 40, LEFT
    for way in ways:
        parts.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{colour[way]}"/>'
                     f'<text x="{x + 18}" y="22">{escape(way)}</text>')
        x += 34 + 7 * len(way)
    for (network, image), group in _groups(rows).items():
        parts.append(f'<text x="10" y="{y + 11}">{escape(image)}, {escape(network)}</text>')
        for row in group:
            length = (WIDTH - LEFT - RIGHT) * row["seconds"] / most[network]
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" '
                         f'fill="{colour[row["engine"]]}"/>'
                         f'<text x="{LEFT + length + 5:.1f}" y="{y + 11}">{row["seconds"]:.2f} s</text>')
            y += BAR
        y += GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
            f'font-family="sans-serif" font-size="12" role="img">'
            f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>'
            + "".join(parts) + "</svg>\n")
