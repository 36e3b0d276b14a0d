"""Draws any scene of the mini world as a 128x128 picture: the training data of the mini Stable Diffusion.

The look is made for a codec that keeps only 4 numbers for every 8x8 block of pixels. Each setting has a few
fixed backgrounds, and a thing stands on a grid of 8 pixels (4 where one thing stands on another), so that the
same thing in the same size always falls on the blocks in the same way.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from audio2img.prompt.mini_world import SETTINGS, Item, Scene, random_scene, write_sentence

Colour = tuple[int, int, int]
Point = tuple[float, float]

SIZE_PX = 128
OVERSAMPLING = 3  # drawn at three times the size, then averaged
CANVAS = SIZE_PX * OVERSAMPLING
GRID_PX = 8
BACKGROUND_VARIANTS = 3
FLOOR_PX = 112  # where the lowest things stand

PALETTE: dict[str, Colour] = {
    "red": (226, 48, 48), "orange": (246, 138, 30), "yellow": (252, 214, 48), "green": (52, 164, 68),
    "blue": (48, 104, 224), "purple": (142, 68, 200), "pink": (248, 138, 190), "brown": (134, 86, 48),
    "black": (38, 38, 46), "white": (250, 250, 250), "gray": (146, 150, 158),
}  # fmt: skip
USUAL_COLOURS: dict[str, tuple[str, ...]] = {
    "circle": ("red", "blue"), "square": ("blue", "orange"), "triangle": ("green", "purple"),
    "star": ("yellow",), "heart": ("red",), "diamond": ("blue", "purple"), "moon": ("yellow",),
    "sun": ("yellow",), "cloud": ("white",), "tree": ("green",), "flower": ("red", "pink"),
    "house": ("red",), "boat": ("brown",), "fish": ("orange", "blue"), "mountain": ("gray",),
    "bird": ("blue",), "cat": ("orange",), "dog": ("brown",), "car": ("red", "blue"), "castle": ("gray",),
}  # fmt: skip
RADIUS_ALONE_PX = {None: 26.0, "small": 18.0, "tiny": 14.0, "big": 38.0, "large": 38.0}
RADIUS_OF_TWO_PX = {None: 20.0, "small": 14.0, "tiny": 14.0, "big": 26.0, "large": 26.0}
IN_THE_SKY = frozenset({"star", "moon", "sun", "cloud", "bird"})
ON_THE_GROUND = frozenset({"tree", "flower", "house", "boat", "mountain", "cat", "dog", "car", "castle"})
GLOWS_AT_NIGHT = frozenset({"moon", "sun", "star"})
# How far a thing reaches above and below its centre, in radii, where that is not 1.
TOPS = {"cloud": 0.68, "fish": 0.82, "car": 0.52, "star": 1.1, "sun": 1.12}
BOTTOMS = {"cloud": 0.72, "fish": 0.58, "sun": 1.08, "star": 1.0}


@dataclass(frozen=True)
class Placed:
    """A thing where it is drawn: centre and radius in pixels of the picture."""

    thing: str
    colour: str
    x: float
    y: float
    radius: float
    grounded: bool = False

    @property
    def bottom(self) -> float:
        """The y of its lowest line, in pixels."""
        return self.y + BOTTOMS.get(self.thing, 1.0) * self.radius


@dataclass(frozen=True)
class Drawing:
    """A picture (128, 128, 3) uint8, the mask (128, 128) bool of what is not background, and the things."""

    picture: NDArray[np.uint8]
    foreground: NDArray[np.bool_]
    things: tuple[Placed, ...]


def shade(colour: Colour, factor: float) -> Colour:
    """Below 1 darkens; above 1 mixes towards white."""
    if factor <= 1:
        red, green, blue = (int(v * factor) for v in colour)
    else:
        red, green, blue = (int(v + (255 - v) * (factor - 1)) for v in colour)
    return red, green, blue


class Pen:
    """Draws in a thing's own frame: x and y in radii from its centre, y downwards."""

    def __init__(self, draw: ImageDraw.ImageDraw, thing: Placed, colour: Colour) -> None:
        self.draw = draw
        self.x, self.y = thing.x * OVERSAMPLING, thing.y * OVERSAMPLING
        self.radius = thing.radius * OVERSAMPLING
        dark = sum(colour) < 200
        self.main = colour
        self.line: Colour = (112, 112, 128) if dark else shade(colour, 0.54)
        self.deep = shade(colour, 1.22 if dark else 0.76)
        self.light = shade(colour, 1.3 if dark else 1.42)
        self.line_width = max(1.5 * OVERSAMPLING, self.radius * 0.06)

    def at(self, x: float, y: float) -> Point:
        """From the thing's frame to the canvas."""
        return self.x + x * self.radius, self.y + y * self.radius

    def polygon(self, points: Sequence[Point], fill: Colour | None = None, lined: bool = True) -> None:
        """A filled outline."""
        corners = [self.at(*point) for point in points]
        self.draw.polygon(corners, fill=fill or self.main)
        if lined:
            width = round(self.line_width)
            self.draw.line(corners + corners[:2], fill=self.line, width=width, joint="curve")

    def oval(
        self,
        x: float,
        y: float,
        a: float,
        b: float | None = None,
        fill: Colour | None = None,
        lined: bool = True,
    ) -> None:
        """An ellipse around (x, y) with half axes a and b."""
        b = a if b is None else b
        box = (*self.at(x - a, y - b), *self.at(x + a, y + b))
        if lined:
            self.draw.ellipse(box, fill=fill or self.main, outline=self.line, width=round(self.line_width))
        else:
            self.draw.ellipse(box, fill=fill or self.main)

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None = None,
        lined: bool = True,
        corner: float = 0.0,
    ) -> None:
        """A rectangle, with corners of this radius."""
        box, radius = (*self.at(x0, y0), *self.at(x1, y1)), corner * self.radius
        if lined:
            width = round(self.line_width)
            self.draw.rounded_rectangle(box, radius, fill=fill or self.main, outline=self.line, width=width)
        else:
            self.draw.rounded_rectangle(box, radius, fill=fill or self.main)

    def stroke(self, points: Sequence[Point], fill: Colour, width: float) -> None:
        """A line through the points, `width` in radii."""
        path = [self.at(*point) for point in points]
        self.draw.line(path, fill=fill, width=max(1, round(width * self.radius)), joint="curve")

    def eye(self, x: float, y: float, size: float) -> None:
        """A dark dot; on dark things a white one with a pupil."""
        if sum(self.main) < 330:
            self.oval(x, y, size * 1.15, fill=(255, 255, 255), lined=False)
            self.oval(x, y, size * 0.6, fill=(20, 20, 30), lined=False)
        else:
            self.oval(x, y, size, fill=(30, 30, 40), lined=False)


def _zigzag(n: int, outer: float, inner: float) -> list[Point]:
    """A star with n points, the first one up."""
    return [
        (r * math.sin(math.pi * i / n), -r * math.cos(math.pi * i / n))
        for i in range(2 * n)
        for r in (inner if i % 2 else outer,)
    ]


def _circle(pen: Pen) -> None:
    pen.oval(0, 0, 1)
    pen.oval(-0.32, -0.38, 0.27, 0.2, fill=pen.light, lined=False)


def _square(pen: Pen) -> None:
    pen.box(-0.94, -0.94, 0.94, 1, corner=0.06)
    pen.box(-0.66, -0.68, -0.06, -0.42, fill=pen.light, lined=False, corner=0.1)


def _triangle(pen: Pen) -> None:
    pen.polygon([(0, -1), (1.1, 1), (-1.1, 1)])
    pen.polygon([(-0.1, -0.4), (-0.02, -0.1), (-0.4, 0.62), (-0.62, 0.62)], fill=pen.light, lined=False)


def _star(pen: Pen) -> None:
    pen.polygon([(x, y + 0.08) for x, y in _zigzag(5, 1.14, 0.54)])
    pen.polygon([(0, -0.72), (0.0, -0.06), (-0.28, -0.28)], fill=pen.light, lined=False)


def _heart(pen: Pen) -> None:
    outline = []
    for i in range(40):
        a = 2 * math.pi * i / 40
        height = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
        outline.append((1.06 * math.sin(a) ** 3, -height / 15.5))
    pen.polygon(outline)
    pen.oval(-0.48, -0.4, 0.22, 0.18, fill=pen.light, lined=False)


def _diamond(pen: Pen) -> None:
    pen.polygon([(0, -1), (0.8, 0), (0, 1), (-0.8, 0)])
    pen.polygon([(0, -0.8), (-0.58, -0.02), (-0.16, -0.02)], fill=pen.light, lined=False)
    pen.polygon([(0, 0.8), (0.58, 0.02), (0.16, 0.02)], fill=pen.deep, lined=False)


def _moon(pen: Pen) -> None:
    outer = [
        (math.cos(a) - 0.05, math.sin(a)) for a in np.linspace(math.radians(-62), math.radians(-298), 30)
    ]
    bite = [
        (math.cos(a) * 0.8 + 0.4, math.sin(a) * 0.83)
        for a in np.linspace(math.radians(-272), math.radians(-88), 24)
    ]
    pen.polygon(outer + bite)
    pen.oval(-0.68, -0.1, 0.13, fill=pen.deep, lined=False)


def _sun(pen: Pen) -> None:
    pen.polygon(_zigzag(10, 1.1, 0.76))
    pen.oval(0, 0, 0.66, fill=pen.light)
    pen.eye(-0.23, -0.1, 0.09)
    pen.eye(0.23, -0.1, 0.09)
    smile = (*pen.at(-0.3, -0.22), *pen.at(0.3, 0.34))
    pen.draw.arc(smile, 25, 155, fill=pen.line, width=round(pen.line_width))


def _cloud(pen: Pen) -> None:
    blobs = [(-0.62, 0.28, 0.42), (-0.2, -0.12, 0.52), (0.36, -0.02, 0.46), (0.74, 0.32, 0.36)]
    rim = pen.line_width / pen.radius
    for x, y, r in blobs:
        pen.oval(x, y, r + rim * 0.6, fill=pen.line, lined=False)
    pen.box(-0.9, 0.2, 0.98, 0.7 + rim * 0.6, fill=pen.line, lined=False, corner=0.24)
    for x, y, r in blobs:
        pen.oval(x, y, r - rim * 0.4, lined=False)
    pen.box(-0.88, 0.22, 0.96, 0.7 - rim * 0.4, lined=False, corner=0.22)
    pen.oval(-0.28, -0.22, 0.26, 0.18, fill=pen.light, lined=False)


def _tree(pen: Pen) -> None:
    pen.box(-0.17, 0.2, 0.17, 1, fill=(128, 84, 50), lined=False)
    rim = pen.line_width / pen.radius
    blobs = [(-0.42, 0.02, 0.43), (0.42, 0.02, 0.43), (0, -0.48, 0.52)]
    for x, y, r in blobs:
        pen.oval(x, y, r + rim * 0.5, fill=pen.line, lined=False)
    for x, y, r in blobs:
        pen.oval(x, y, r - rim * 0.5, lined=False)
    pen.oval(-0.14, -0.62, 0.2, 0.15, fill=pen.light, lined=False)


def _flower(pen: Pen) -> None:
    pen.stroke([(0, 0), (0.0, 1)], (52, 138, 62), 0.13)
    pen.oval(0.28, 0.72, 0.26, 0.13, fill=(76, 168, 80), lined=False)
    pen.oval(-0.28, 0.72, 0.26, 0.13, fill=(76, 168, 80), lined=False)
    for i in range(6):
        a = math.radians(60 * i - 90)
        pen.oval(0.4 * math.cos(a), -0.4 + 0.4 * math.sin(a), 0.3)
    yellowish = pen.main[0] > 220 and pen.main[1] > 180 and pen.main[2] < 120
    pen.oval(0, -0.4, 0.25, fill=(228, 120, 30) if yellowish else (252, 214, 60))


def _house(pen: Pen) -> None:
    pen.box(0.36, -0.86, 0.62, -0.3, fill=pen.deep)
    pen.box(-0.78, -0.2, 0.78, 1)
    pen.polygon([(-1.04, -0.16), (0, -1), (1.04, -0.16)], fill=pen.deep)
    pen.box(-0.18, 0.38, 0.2, 1, fill=(120, 76, 46), lined=False)
    for x in (-0.6, 0.32):
        pen.box(x, 0.08, x + 0.3, 0.38, fill=(255, 240, 170))


def _boat(pen: Pen) -> None:
    pen.stroke([(0, -1), (0, 0.45)], (110, 74, 46), 0.11)
    sail = (252, 250, 244)
    pen.polygon([(0.08, -0.92), (0.84, 0.24), (0.08, 0.24)], fill=sail)
    pen.polygon([(-0.08, -0.7), (-0.64, 0.24), (-0.08, 0.24)], fill=sail)
    pen.polygon([(-1.08, 0.36), (1.08, 0.36), (0.72, 1), (-0.72, 1)])


def _fish(pen: Pen) -> None:
    pen.polygon([(0.48, 0), (1.1, -0.52), (0.96, 0), (1.1, 0.52)], fill=pen.deep)
    pen.polygon([(-0.2, -0.45), (0.15, -0.82), (0.4, -0.35)], fill=pen.deep)
    pen.oval(-0.2, 0, 0.84, 0.58)
    pen.oval(-0.15, 0.26, 0.42, 0.18, fill=pen.light, lined=False)
    pen.eye(-0.62, -0.12, 0.12)


def _mountain(pen: Pen) -> None:
    pen.polygon([(0.1, 0.98), (0.64, -0.3), (1.2, 0.98)], fill=pen.deep)
    pen.polygon([(-1.2, 1), (-0.18, -1), (0.86, 1)])
    snow = (252, 252, 255) if sum(pen.main) < 700 else (196, 214, 240)
    cap = [(-0.18, -0.92), (0.16, -0.3), (-0.02, -0.46), (-0.18, -0.24), (-0.36, -0.42), (-0.52, -0.3)]
    pen.polygon(cap, fill=snow, lined=False)


def _bird(pen: Pen) -> None:
    for x in (-0.06, 0.22):
        pen.stroke([(x, 0.6), (x, 1)], (214, 134, 30), 0.09)
    pen.polygon([(0.5, 0.1), (1.1, -0.14), (1.04, 0.38)], fill=pen.deep)
    pen.oval(0.08, 0.2, 0.66, 0.48)
    pen.oval(-0.48, -0.24, 0.42)
    pen.polygon([(-0.84, -0.36), (-1.18, -0.16), (-0.82, -0.04)], fill=(250, 170, 40), lined=False)
    pen.polygon([(-0.14, 0.1), (0.62, -0.12), (0.42, 0.44), (0.06, 0.46)], fill=pen.deep)
    pen.eye(-0.56, -0.3, 0.11)


def _cat(pen: Pen) -> None:
    tail = [(0.4, 0.84), (0.86, 0.76), (0.96, 0.3), (0.82, 0.12)]
    pen.stroke(tail, pen.line, 0.26)
    pen.stroke(tail, pen.main, 0.14)
    pen.oval(0, 0.5, 0.54, 0.5)
    pen.oval(0, 0.64, 0.26, 0.3, fill=pen.light, lined=False)
    for side in (-1, 1):
        pen.polygon([(side * 0.6, -0.3), (side * 0.58, -1), (side * 0.1, -0.66)])
    pen.oval(0, -0.28, 0.62, 0.48)
    pen.eye(-0.25, -0.34, 0.12)
    pen.eye(0.25, -0.34, 0.12)
    pen.polygon([(-0.11, -0.14), (0.11, -0.14), (0, -0.02)], fill=(236, 110, 130), lined=False)


def _dog(pen: Pen) -> None:
    pen.stroke([(0.76, 0.1), (1.02, -0.38)], pen.line, 0.26)
    pen.stroke([(0.76, 0.1), (1.0, -0.32)], pen.main, 0.14)
    for x in (-0.42, -0.12, 0.42, 0.72):
        pen.box(x - 0.14, 0.3, x + 0.14, 1, corner=0.08)
    pen.box(-0.58, -0.06, 0.88, 0.6, corner=0.28)
    pen.box(-1.12, -0.52, -0.5, -0.08, fill=pen.light, corner=0.16)
    pen.oval(-0.5, -0.46, 0.44)
    pen.box(-0.42, -0.76, -0.1, 0.0, fill=pen.deep, corner=0.14)
    pen.oval(-1.06, -0.4, 0.13, 0.11, fill=(30, 30, 36), lined=False)
    pen.eye(-0.68, -0.54, 0.1)


def _car(pen: Pen) -> None:
    glass = (206, 234, 250)
    pen.polygon([(-0.64, 0.1), (-0.38, -0.52), (0.42, -0.52), (0.72, 0.1)], fill=pen.deep)
    pen.polygon([(-0.44, 0.06), (-0.26, -0.36), (-0.04, -0.36), (-0.04, 0.06)], fill=glass, lined=False)
    pen.polygon([(0.1, 0.06), (0.1, -0.36), (0.32, -0.36), (0.52, 0.06)], fill=glass, lined=False)
    pen.box(-1.1, 0.04, 1.1, 0.68, corner=0.2)
    pen.oval(-0.94, 0.28, 0.13, fill=(255, 240, 150), lined=False)
    for x in (-0.58, 0.58):
        pen.oval(x, 0.68, 0.32, fill=(36, 36, 44), lined=False)
        pen.oval(x, 0.68, 0.14, fill=(200, 204, 212), lined=False)


def _castle(pen: Pen) -> None:
    pen.box(-0.66, -0.06, 0.66, 1)
    for x in (-0.46, -0.12, 0.22):
        pen.box(x, -0.28, x + 0.24, -0.02)
    for side in (-1, 1):
        pen.box(side * 0.8 - 0.28, -0.4, side * 0.8 + 0.28, 1)
        pen.polygon([(side * 0.8 - 0.38, -0.38), (side * 0.8, -1), (side * 0.8 + 0.38, -0.38)], fill=pen.deep)
        window = (side * 0.8 - 0.1, -0.14, side * 0.8 + 0.1, 0.2)
        pen.box(*window, fill=(60, 56, 76), lined=False, corner=0.08)
    pen.box(-0.24, 0.4, 0.24, 1.0, fill=(92, 62, 44), corner=0.2)


DRAW_THING: dict[str, Callable[[Pen], None]] = {
    "circle": _circle, "square": _square, "triangle": _triangle, "star": _star, "heart": _heart,
    "diamond": _diamond, "moon": _moon, "sun": _sun, "cloud": _cloud, "tree": _tree, "flower": _flower,
    "house": _house, "boat": _boat, "fish": _fish, "mountain": _mountain, "bird": _bird, "cat": _cat,
    "dog": _dog, "car": _car, "castle": _castle,
}  # fmt: skip

# Skies: (height, colour) stops; height 0 is the upper edge, 1 the lower one.
_SKIES: dict[str | None, tuple[tuple[float, Colour], ...]] = {
    None: ((0, (142, 202, 245)), (0.7, (226, 244, 252))),
    "at night": ((0, (14, 18, 58)), (0.75, (66, 66, 136))),
    "at sunset": ((0, (92, 58, 130)), (0.38, (232, 104, 96)), (0.7, (255, 200, 96))),
    "at sunrise": ((0, (140, 190, 236)), (0.42, (252, 204, 204)), (0.7, (255, 240, 180))),
    "in the snow": ((0, (168, 188, 214)), (0.7, (222, 232, 244))),
    "in the rain": ((0, (98, 112, 134)), (0.7, (166, 178, 192))),
    "on a beach": ((0, (104, 190, 246)), (0.55, (214, 242, 252))),
    "in the forest": ((0, (176, 220, 180)), (0.7, (228, 244, 206))),
    "by the sea": ((0, (130, 200, 248)), (0.5, (232, 246, 252))),
}
# Two rows of hills, the far one first.
_HILLS: dict[str | None, tuple[Colour, Colour]] = {
    None: ((150, 208, 120), (122, 190, 98)),
    "at night": ((38, 54, 84), (28, 42, 66)),
    "at sunset": ((112, 66, 98), (84, 50, 82)),
    "at sunrise": ((176, 204, 146), (146, 186, 124)),
    "in the snow": ((234, 241, 251), (246, 249, 255)),
    "in the rain": ((108, 136, 112), (90, 120, 98)),
    "in the forest": ((98, 148, 84), (80, 128, 70)),
}


def _gradient(stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    heights = np.linspace(0, 1, CANVAS)
    at = [height for height, _ in stops]
    column = np.stack([np.interp(heights, at, [c[i] for _, c in stops]) for i in range(3)], axis=1)
    return Image.fromarray(column.round().astype(np.uint8)[:, None, :]).resize((CANVAS, CANVAS))


def _hill(draw: ImageDraw.ImageDraw, y: float, height: float, phase: float, colour: Colour) -> None:
    step = CANVAS // 16
    ridge = [
        (float(x), (y + height * math.sin(phase + x / CANVAS * 4.2)) * CANVAS)
        for x in range(0, CANVAS + 1, step)
    ]
    draw.polygon([*ridge, (CANVAS, CANVAS), (0, CANVAS)], fill=colour)


def _band(draw: ImageDraw.ImageDraw, y: float, colour: Colour) -> None:
    draw.rectangle((0, y * CANVAS, CANVAS, CANVAS), fill=colour)


def _dots(draw: ImageDraw.ImageDraw, rows: int, until: float, radius_px: float, colour: Colour) -> None:
    """Dots spread evenly but not in rank and file (steps of the golden ratio), the same in every picture."""
    for i in range(rows):
        x = (0.31 + i * 0.618034) % 1 * CANVAS
        y = (i + 0.5) / rows * until * CANVAS
        r = radius_px * OVERSAMPLING * (1.0, 0.8, 1.25)[i % 3]
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _glow(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Colour) -> None:
    for ring in range(5, 0, -1):
        r = radius * ring / 5
        draw.ellipse((x - r, y - 0.7 * r, x + r, y + 0.7 * r), fill=(*colour, 24))


def _sea(draw: ImageDraw.ImageDraw, phase: float) -> None:
    for y, colour in ((0.5, (44, 128, 206)), (0.6, (58, 146, 216)), (0.71, (74, 164, 224))):
        _band(draw, y, colour)
    for row, y in enumerate((0.54, 0.65, 0.76)):
        for i in range(3):
            x = ((i + 0.5 * row) / 3 + phase / 12) % 1 * CANVAS
            width = 0.11 * CANVAS
            box = (x, y * CANVAS, x + width, y * CANVAS + width * 0.4)
            draw.arc(box, 200, 340, fill=(206, 234, 250), width=2 * OVERSAMPLING)
    _hill(draw, 0.85, 0.015, phase, (124, 190, 100))


def _beach(draw: ImageDraw.ImageDraw, phase: float) -> None:
    _band(draw, 0.54, (56, 160, 214))
    _band(draw, 0.63, (96, 198, 222))
    _hill(draw, 0.7, 0.014, phase, (250, 252, 250))
    _hill(draw, 0.725, 0.014, phase, (246, 222, 164))
    _hill(draw, 0.9, 0.02, phase + 2, (238, 208, 144))


def _forest(draw: ImageDraw.ImageDraw, variant: int) -> None:
    rows: tuple[tuple[Colour, float, float], ...] = (
        ((150, 200, 154), 0.74, 0.46),
        ((108, 170, 122), 0.78, 0.38),
    )
    for row, (colour, base, height) in enumerate(rows):
        for i in range(-1, 6):
            x = (i + 0.5 * row + variant / BACKGROUND_VARIANTS) / 5 * CANVAS
            top, half = (base - height * (1.0, 0.86, 0.94)[i % 3]) * CANVAS, 0.1 * CANVAS
            draw.polygon([(x, top), (x + half, base * CANVAS), (x - half, base * CANVAS)], fill=colour)


@cache
def _background_canvas(setting: str | None, variant: int) -> Image.Image:
    """One of the fixed backgrounds of a setting, at the size of the canvas."""
    image = _gradient(_SKIES[setting])
    draw = ImageDraw.Draw(image, "RGBA")
    phase, horizon = 2 * math.pi * variant / BACKGROUND_VARIANTS, 0.7
    if setting == "at night":
        _dots(draw, 22, 0.66, 1.2, (255, 250, 220))
    elif setting == "at sunset":
        _glow(draw, CANVAS / 2, horizon * CANVAS, CANVAS / 2, (255, 226, 130))
    elif setting == "at sunrise":
        _glow(draw, CANVAS / 2, horizon * CANVAS, CANVAS / 2, (255, 252, 210))
    elif setting == "in the forest":
        _forest(draw, variant)
        horizon = 0.73
    elif setting == "on a beach":
        _beach(draw, phase)
    elif setting == "by the sea":
        _sea(draw, phase)
    if setting in _HILLS:
        far, near = _HILLS[setting]
        _hill(draw, horizon, 0.03, phase, far)
        _hill(draw, horizon + 0.1, 0.025, phase + 2, near)
    if setting == "in the snow":
        _dots(draw, 26, 1.0, 1.7, (255, 255, 255))
    elif setting == "in the rain":
        _rain(draw)
    return image


def _rain(draw: ImageDraw.ImageDraw) -> None:
    for i in range(30):
        x, y = (0.2 + i * 0.618034) % 1 * CANVAS, (i + 0.5) / 30 * CANVAS
        fall = 8 * OVERSAMPLING
        draw.line((x, y, x - fall * 0.3, y + fall), fill=(206, 222, 240, 170), width=4)


def draw_background(setting: str | None, variant: int) -> NDArray[np.uint8]:
    """The bare background `variant` of a setting (None: a meadow by day): (128, 128, 3) uint8."""
    return np.asarray(_background_canvas(setting, variant).reduce(OVERSAMPLING))


def _snap(value: float, step: int) -> float:
    return float(round(value / step) * step)


def _standing(item: Item, colour: str, x: float, bottom: float, radius: float, grounded: bool) -> Placed:
    y = bottom - BOTTOMS.get(item.thing, 1.0) * radius
    return Placed(item.thing, colour, x, y, radius, grounded)


def _top(placed: Placed) -> float:
    return placed.y - TOPS.get(placed.thing, 1.0) * placed.radius


def _place_one(item: Item, colour: str, setting: str | None, rng: random.Random) -> Placed:
    radius = RADIUS_ALONE_PX[item.size]
    x = 64 + GRID_PX * rng.randint(-2, 2)
    if item.thing in ON_THE_GROUND:
        floating = item.thing == "boat" and setting == "by the sea"
        bottom = 96 if floating else FLOOR_PX - GRID_PX * rng.randint(0, 1)
        return _standing(item, colour, x, bottom, radius, not floating)
    centre = 44 if item.thing in IN_THE_SKY else 60
    reach = BOTTOMS.get(item.thing, 1.0) * radius
    bottom = _snap(centre + reach, GRID_PX) + GRID_PX * rng.randint(0, 1)
    highest = 4 + (TOPS.get(item.thing, 1.0) + BOTTOMS.get(item.thing, 1.0)) * radius
    return _standing(item, colour, x, max(bottom, math.ceil(highest / GRID_PX) * GRID_PX), radius, False)


def _place_side_by_side(
    items: tuple[Item, Item], colours: Sequence[str], mirrored: bool, rng: random.Random
) -> tuple[Placed, ...]:
    radii = [RADIUS_OF_TWO_PX[item.size] for item in items]
    room = max(radii) < RADIUS_OF_TWO_PX["big"]
    xs = [
        32 + (GRID_PX * rng.randint(0, 1) if room else 0),
        96 - (GRID_PX * rng.randint(0, 1) if room else 0),
    ]
    placed = []
    for item, colour, radius, x in zip(items, colours, radii, reversed(xs) if mirrored else xs, strict=True):
        if item.thing in ON_THE_GROUND:
            placed.append(_standing(item, colour, x, FLOOR_PX, radius, True))
        else:
            centre = 48 if item.thing in IN_THE_SKY else 64
            bottom = _snap(centre + BOTTOMS.get(item.thing, 1.0) * radius, GRID_PX)
            placed.append(_standing(item, colour, x, bottom, radius, False))
    return tuple(placed)


def _place_stacked(
    items: tuple[Item, Item], colours: Sequence[str], relation: str, rng: random.Random
) -> tuple[Placed, ...]:
    upper, lower = (1, 0) if relation in ("below", "under") else (0, 1)
    radii = [RADIUS_OF_TWO_PX[item.size] for item in items]
    x = 64 + GRID_PX * rng.randint(-1, 1)
    grounded = items[lower].thing not in IN_THE_SKY
    below = _standing(items[lower], colours[lower], x, FLOOR_PX, radii[lower], grounded)
    height = (TOPS.get(items[upper].thing, 1.0) + BOTTOMS.get(items[upper].thing, 1.0)) * radii[upper]
    gap = -1.0 if relation == "on" else max(4.0, min(12.0, (_top(below) - height) * 0.5))
    bottom = max(_snap(_top(below) - gap, GRID_PX // 2), math.ceil((2 + height) / 4) * 4)
    above = _standing(items[upper], colours[upper], x, bottom, radii[upper], False)
    return (below, above) if lower == 0 else (above, below)


def place_scene(scene: Scene, rng: random.Random) -> tuple[Placed, ...]:
    """Where the things of a scene stand, in the order of its items; open colours are chosen here."""
    colours = [item.colour or rng.choice(USUAL_COLOURS[item.thing]) for item in scene.items]
    if len(scene.items) == 1:
        return (_place_one(scene.items[0], colours[0], scene.setting, rng),)
    items = (scene.items[0], scene.items[1])
    if scene.relation in ("above", "below", "under", "on"):
        return _place_stacked(items, colours, scene.relation, rng)
    return _place_side_by_side(items, colours, scene.relation == "right of", rng)


def _draw_placed(draw: ImageDraw.ImageDraw, placed: Placed, setting: str | None) -> None:
    x, y, r = (value * OVERSAMPLING for value in (placed.x, placed.y, placed.radius))
    if placed.grounded:
        draw.ellipse((x - r, y + r * 0.88, x + r, y + r * 1.12), fill=(20, 30, 30, 60))
    if setting == "at night" and placed.thing in GLOWS_AT_NIGHT:
        for halo in (1.6, 1.35):
            q = r * halo
            draw.ellipse((x - q, y - q, x + q, y + q), fill=(255, 250, 210, 22))
    DRAW_THING[placed.thing](Pen(draw, placed, PALETTE[placed.colour]))


def draw_scene(scene: Scene, rng: random.Random) -> Drawing:
    """One of the pictures of a scene; `rng` chooses the background, the place and open colours."""
    variant = rng.randrange(BACKGROUND_VARIANTS)
    things = place_scene(scene, rng)
    image = _background_canvas(scene.setting, variant).copy()
    draw = ImageDraw.Draw(image, "RGBA")
    for placed in sorted(things, key=lambda thing: -thing.bottom):
        _draw_placed(draw, placed, scene.setting)
    picture = np.asarray(image.reduce(OVERSAMPLING))
    bare = draw_background(scene.setting, variant).astype(np.int16)
    foreground = np.abs(picture.astype(np.int16) - bare).sum(axis=-1) > 24
    return Drawing(picture, foreground, things)


@lru_cache(maxsize=8192)
def colour_mask(thing: str, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    """Where a thing at this place shows its own colour: no outline, lights, or parts of fixed colour."""
    probe: Colour = (203, 71, 149)  # no part of any thing has this colour of its own
    image = Image.new("RGB", (CANVAS, CANVAS), (0, 0, 0))
    placed = Placed(thing, "red", x, y, radius)
    DRAW_THING[thing](Pen(ImageDraw.Draw(image, "RGBA"), placed, probe))
    flat = np.asarray(image.reduce(OVERSAMPLING)).astype(np.int16)
    return np.asarray(np.abs(flat - np.array(probe)).max(axis=-1) <= 2)


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str], columns: int
) -> Image.Image:
    """Pictures in rows, each with its caption below."""
    width, height = SIZE_PX + 4, SIZE_PX + 16
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = i % columns * width + 2, i // columns * height + 1
        sheet.paste(Image.fromarray(picture), (x, y))
        draw.text((x, y + SIZE_PX + 1), caption[:24], fill=(0, 0, 0))
    return sheet


def example_sheet(seed: int = 3, count: int = 80, p_two: float = 0.3) -> Image.Image:
    """A contact sheet of random scenes, for a person to look at."""
    rng = random.Random(seed)
    scenes = [random_scene(rng, p_two) for _ in range(count)]
    pictures = [draw_scene(scene, rng).picture for scene in scenes]
    return contact_sheet(pictures, [write_sentence(scene) for scene in scenes], 10)


ALL_SETTINGS: tuple[str | None, ...] = (None, *SETTINGS)
