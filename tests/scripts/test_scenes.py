"""The drawings that the mini Stable Diffusion learns from show what their sentences say."""

from __future__ import annotations

import random

import numpy as np
import pytest

from audio2img.prompt.mini_world import COLOURS, RELATIONS, SETTINGS, SIZES, THINGS, Item, Scene, random_scene
from scripts.mini import scenes

LUMA = np.array([0.299, 0.587, 0.114])


def draw(scene: Scene, seed: int = 0) -> scenes.Drawing:
    return scenes.draw_scene(scene, random.Random(seed))


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("size", [None, *SIZES])
def test_a_thing_shows_its_colour_and_fits(thing: str, size: str | None) -> None:
    for seed, colour in enumerate(COLOURS):
        drawing = draw(Scene((Item(thing, colour, size),)), seed)
        (placed,) = drawing.things
        mask = scenes.colour_mask(thing, placed.x, placed.y, placed.radius)
        assert mask.sum() >= 60, "too few pixels to judge a colour by"
        assert np.median(drawing.picture[mask], axis=0) == pytest.approx(scenes.PALETTE[colour], abs=2)
        rows, columns = np.nonzero(drawing.foreground)
        assert 0 < columns.min() <= columns.max() < scenes.SIZE_PX - 1, "cut off at a side"
        assert rows.min() > 0, "cut off at the top"


def test_things_stand_on_the_grid_of_the_codec() -> None:
    rng = random.Random(1)
    for _ in range(300):
        for placed in scenes.place_scene(random_scene(rng, 0.0), rng):
            assert placed.x % scenes.GRID_PX == 0
            assert placed.bottom / scenes.GRID_PX == pytest.approx(round(placed.bottom / scenes.GRID_PX))


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_are_where_the_things_are(relation: str) -> None:
    rng = random.Random(2)
    for _ in range(200):
        items = tuple(Item(thing, None, rng.choice([None, *SIZES])) for thing in rng.sample(THINGS, 2))
        first, second = scenes.place_scene(Scene(items, relation), rng)
        right, down = first.x - second.x, first.y - second.y
        expected = {
            "above": down < -8, "on": down < -8, "below": down > 8, "under": down > 8,
            "left of": right < -24, "right of": right > 24, "next to": right < -24, "and": right < -24,
        }[relation]  # fmt: skip
        assert expected, (items, first, second)
        assert (first.thing, second.thing) == (items[0].thing, items[1].thing)


def test_sizes_differ() -> None:
    areas = [
        draw(Scene((Item("circle", "red", size),))).foreground.sum()
        for size in ("tiny", "small", None, "big")
    ]
    assert areas == sorted(areas)
    assert areas[3] > 3 * areas[1]


def test_settings_look_different() -> None:
    pictures = [scenes.draw_background(setting, 0).astype(float) for setting in scenes.ALL_SETTINGS]
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert np.abs(first - second).mean() > 5


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_seed_draws_the_same_picture(setting: str) -> None:
    scene = Scene((Item("boat", "blue"), Item("moon")), "under", setting)
    assert np.array_equal(draw(scene, 5).picture, draw(scene, 5).picture)


def test_a_colour_mask_marks_nothing_outside_the_thing() -> None:
    drawing = draw(Scene((Item("castle", "pink"),), None, "at night"), 3)
    (placed,) = drawing.things
    mask = scenes.colour_mask("castle", placed.x, placed.y, placed.radius)
    assert not (mask & ~drawing.foreground).any()
