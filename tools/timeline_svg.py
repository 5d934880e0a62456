#!/usr/bin/env python3
"""Draws a timeline that `tutti generate --trace-out FILE` (or EngineOptions::trace_out) has written as an SVG picture.

usage: tools/timeline_svg.py FILE.json > FILE.svg
"""
import json
import sys
from xml.sax.saxutils import escape

COLOURS = {"queue": "#c9ced6", "compute": "#3b7dd8", "transfer": "#e0a030"}
ROW, LEFT, RIGHT, TOP, WIDTH = 22, 150, 20, 40, 940


def read(path):
    """Spans (track, request, name, begin, end) and instants (track, name, time) in seconds; names of tracks."""
    spans, instants, names, open_spans = [], [], {}, {}
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    for event in events:
        track = (event["pid"], event.get("tid", 0))
        if event["name"] == "process_name":
            names[event["pid"]] = event["args"]["name"]
        elif event["ph"] == "b":
            open_spans[(track, event["id"], event["name"])] = event["ts"]
        elif event["ph"] == "e":
            begin = open_spans.pop((track, event["id"], event["name"]))
            spans.append((track, event["id"], event["name"], begin * 1e-6, event["ts"] * 1e-6))
        elif event["ph"] == "i":
            instants.append((track, event["name"], event["ts"] * 1e-6))
    return spans, instants, names


def draw(spans, instants, names):
    begin = min(span[3] for span in spans)
    end = max(span[4] for span in spans)
    scale = (WIDTH - LEFT - RIGHT) / max(end - begin, 1e-9)
    x = lambda time: LEFT + (time - begin) * scale
    rows = sorted({(span[0], int(span[1])) for span in spans})
    height = TOP + ROW * len(rows) + 50
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="white"/>']
    for number, (track, request) in enumerate(rows):
        y = TOP + number * ROW
        first = number == 0 or rows[number - 1][0] != track
        if first:
            out.append(f'<line x1="0" y1="{y - 2}" x2="{WIDTH}" y2="{y - 2}" stroke="#ddd"/>')
            out.append(f'<text x="8" y="{y + 14}">{escape(names.get(track[0], str(track[0])))}</text>')
        for other, identity, name, left, right in spans:
            if other != track or int(identity) != request:
                continue
            width = max((right - left) * scale, 1)
            inset = 7 if name == "transfer" else 3
            out.append(f'<rect x="{x(left):.1f}" y="{y + inset}" width="{width:.1f}" height="{ROW - 2 * inset - 2}" '
                       f'fill="{COLOURS.get(name, "#888")}"><title>{escape(name)} {1e3 * (right - left):.1f} ms</title></rect>')
    for track, name, time in instants:
        last = max(number for number, row in enumerate(rows) if row[0] == track)
        first = min(number for number, row in enumerate(rows) if row[0] == track)
        colour = "#c0392b" if "audio" in name else "#27855a"
        out.append(f'<line x1="{x(time):.1f}" y1="{TOP + first * ROW}" x2="{x(time):.1f}" y2="{TOP + (last + 1) * ROW - 2}" '
                   f'stroke="{colour}" stroke-width="1.5"><title>{escape(name)}</title></line>')
    bottom = TOP + ROW * len(rows)
    for tick in range(6):
        time = begin + (end - begin) * tick / 5
        out.append(f'<text x="{x(time):.1f}" y="{bottom + 16}" text-anchor="middle" fill="#555">{1e3 * (time - begin):.0f} ms</text>')
    legend = LEFT
    for name, colour in [*COLOURS.items(), ("first token", "#27855a"), ("first audio", "#c0392b")]:
        out.append(f'<rect x="{legend}" y="14" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{legend + 17}" y="24">{name}</text>')
        legend += 110
    return "\n".join(out + ["</svg>", ""])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    spans, instants, names = read(sys.argv[1])
    if not spans:
        sys.exit(f"{sys.argv[1]} has no requests")
    sys.stdout.write(draw(spans, instants, names))


if __name__ == "__main__":
    main()
