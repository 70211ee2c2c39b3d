"""Draw the sample set `drawings`: `python tests/data/make_drawings.py` writes easytx/data/samples/drawings.parquet.

Each row is a small picture of one thing in one colour and a question about either, so that neither the question nor the
picture alone is enough for the answer.
"""

from __future__ import annotations

import io
import random
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw

TARGET = Path(__file__).resolve().parents[2] / "easytx" / "data" / "samples" / "drawings.parquet"

SIZE, FINER = 64, 4
ROWS, HELD_OUT = 240, 60
COLOURS = {
    "red": ["#c8322b", "#d9483b", "#b7282e"],
    "blue": ["#2f5fc4", "#3b74d8", "#264fa0"],
    "green": ["#2f9e4f", "#3fae57", "#25823f"],
    "yellow": ["#eac325", "#f2d13c", "#dcb419"],
}
PAPER = ["#fdfaf3", "#f6f1e7", "#eef3f6", "#f9f2f4", "#ffffff"]
INK = "#3a3530"
ABOUT_THINGS = [
    "What has been drawn here?",
    "What is in this picture?",
    "Which thing do you see?",
    "What does the drawing show?",
    "What did the child draw?",
    "Can you tell what this is?",
    "What is it meant to be?",
    "Name the thing on the paper.",
    "What would you call this?",
    "So what is this one?",
]
ABOUT_COLOURS = [
    "Which colour is it?",
    "What colour was used?",
    "Which crayon did the child take?",
    "In which colour is it painted?",
    "What is its colour?",
    "Which paint was on the brush?",
    "Tell me the colour, please.",
    "What colour would you say this is?",
    "Which pencil was it, by the colour?",
    "And the colour?",
]

Draw = ImageDraw.ImageDraw
Box = tuple[float, float, float]


def house(draw: Draw, box: Box, colour: str) -> None:
    x, y, s = box
    draw.rectangle([x, y + 0.4 * s, x + s, y + s], fill=colour, outline=INK, width=3)
    draw.polygon([(x - 0.1 * s, y + 0.4 * s), (x + 0.5 * s, y), (x + 1.1 * s, y + 0.4 * s)], fill=colour, outline=INK)
    draw.rectangle([x + 0.4 * s, y + 0.65 * s, x + 0.6 * s, y + s], fill="#ffffff", outline=INK, width=2)
    draw.rectangle([x + 0.12 * s, y + 0.52 * s, x + 0.3 * s, y + 0.7 * s], fill="#ffffff", outline=INK, width=2)


def tree(draw: Draw, box: Box, colour: str) -> None:
    x, y, s = box
    draw.rectangle([x + 0.42 * s, y + 0.55 * s, x + 0.58 * s, y + s], fill="#ffffff", outline=INK, width=3)
    for dx, dy in ((0.05, 0.2), (0.45, 0.2), (0.25, 0.0), (0.25, 0.28)):
        draw.ellipse([x + dx * s, y + dy * s, x + (dx + 0.5) * s, y + (dy + 0.42) * s], fill=colour)


def boat(draw: Draw, box: Box, colour: str) -> None:
    x, y, s = box
    hull = [(x, y + 0.7 * s), (x + s, y + 0.7 * s), (x + 0.8 * s, y + 0.95 * s), (x + 0.2 * s, y + 0.95 * s)]
    draw.polygon(hull, fill=colour, outline=INK)
    draw.line([x + 0.5 * s, y, x + 0.5 * s, y + 0.7 * s], fill=INK, width=4)
    draw.polygon([(x + 0.55 * s, y + 0.05 * s), (x + 0.55 * s, y + 0.6 * s), (x + 0.95 * s, y + 0.6 * s)], fill=colour)


def cup(draw: Draw, box: Box, colour: str) -> None:
    x, y, s = box
    draw.ellipse([x + 0.6 * s, y + 0.35 * s, x + s, y + 0.75 * s], outline=colour, width=max(int(0.09 * s), 3))
    sides = [(x + 0.08 * s, y + 0.2 * s), (x + 0.76 * s, y + 0.2 * s), (x + 0.66 * s, y + 0.95 * s)]
    draw.polygon([*sides, (x + 0.18 * s, y + 0.95 * s)], fill=colour, outline=INK)
    draw.ellipse([x + 0.08 * s, y + 0.12 * s, x + 0.76 * s, y + 0.3 * s], fill="#ffffff", outline=INK, width=3)


def fish(draw: Draw, box: Box, colour: str) -> None:
    x, y, s = box
    draw.polygon([(x + s, y + 0.25 * s), (x + s, y + 0.75 * s), (x + 0.6 * s, y + 0.5 * s)], fill=colour, outline=INK)
    draw.ellipse([x, y + 0.25 * s, x + 0.75 * s, y + 0.75 * s], fill=colour, outline=INK, width=3)
    draw.ellipse([x + 0.13 * s, y + 0.38 * s, x + 0.25 * s, y + 0.5 * s], fill="#ffffff", outline=INK, width=2)


THINGS = {"house": house, "tree": tree, "boat": boat, "cup": cup, "fish": fish}


def drawing(thing: str, colour: str, chance: random.Random) -> bytes:
    """Return the PNG of one thing, at a place and of a size that chance decides."""
    whole = SIZE * FINER
    picture = Image.new("RGB", (whole, whole), chance.choice(PAPER))
    size = chance.uniform(0.42, 0.72) * whole
    place = [chance.uniform(0.06, 0.94) * (whole - size) for _ in range(2)]
    if chance.random() < 0.5:
        ground = min(place[1] + size * 0.97, whole - 8)
        ImageDraw.Draw(picture).line([0, ground, whole, ground + chance.uniform(-8, 8)], fill="#a49a8c", width=4)
    THINGS[thing](ImageDraw.Draw(picture), (place[0], place[1], size), chance.choice(COLOURS[colour]))
    picture = picture.rotate(
        chance.uniform(-8, 8), fillcolor=picture.getpixel((2, 2)), resample=Image.Resampling.BICUBIC
    )
    small = picture.resize((SIZE, SIZE), Image.Resampling.BOX).quantize(24, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Write the data set."""
    chance = random.Random(2)
    rows = []
    for number in range(ROWS):
        # Every thing in every colour equally often, and asked about equally often in both ways.
        thing, colour = list(THINGS)[number % 5], list(COLOURS)[number // 5 % 4]
        asks_for_thing = number // 20 % 2 == 0
        text = chance.choice(ABOUT_THINGS if asks_for_thing else ABOUT_COLOURS)
        rows.append({"text": text, "labels": thing if asks_for_thing else colour})
        rows[-1]["images"] = drawing(thing, colour, chance)
        rows[-1]["split"] = "eval" if number >= ROWS - HELD_OUT else "train"
    frame = pd.DataFrame(rows)
    order = list(range(ROWS))
    chance.shuffle(order)
    frame.iloc[order].to_parquet(TARGET, index=False, compression="zstd")


if __name__ == "__main__":
    main()
