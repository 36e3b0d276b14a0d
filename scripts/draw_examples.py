"""Draw the README's picture: sentences of the small world, as the embedded model draws them.

Usage: python scripts/draw_examples.py [--seed N] [-o models/mini/examples.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFont

from audio2img import Options, Pipeline

SENTENCES = (
    "a big red house at night", "an orange cat in the snow", "a small yellow boat by the sea",
    "a purple castle at sunset", "a white bird in the forest",
    "a yellow moon above a red house", "a blue car next to a green tree", "an orange fish under a gray boat",
    "a black cat and a brown dog", "a pink heart below a purple star",
)  # fmt: skip
COLUMNS = 5
CELL_PX = 184
CAPTION_PX = 22
MARGIN_PX = 6


def draw_sheet(seed: int) -> Image.Image:
    """All sentences in a grid, each with its words under it. Every picture takes the same seed."""
    rows = -(-len(SENTENCES) // COLUMNS)
    size = (
        COLUMNS * (CELL_PX + MARGIN_PX) + MARGIN_PX,
        rows * (CELL_PX + CAPTION_PX + MARGIN_PX) + MARGIN_PX,
    )
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    with Pipeline("mini") as pipeline:
        for number, sentence in enumerate(SENTENCES):
            pixels = pipeline.generate(sentence, Options(seed=seed)).images[0].pixels
            row, column = divmod(number, COLUMNS)
            x = MARGIN_PX + column * (CELL_PX + MARGIN_PX)
            y = MARGIN_PX + row * (CELL_PX + CAPTION_PX + MARGIN_PX)
            picture = Image.fromarray(pixels).resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
            sheet.paste(picture, (x, y))
            pen.text((x + CELL_PX / 2, y + CELL_PX + 4), sentence, fill="black", font=font, anchor="ma")
            print(f"{number + 1}/{len(SENTENCES)} {sentence}", file=sys.stderr)
    return sheet


@click.command(context_settings={"show_default": True})
@click.option("--seed", type=int, default=7)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("models/mini/examples.png"))
def main(seed: int, output: Path) -> None:
    """Draw the sheet and save it."""
    draw_sheet(seed).save(output, optimize=True)


if __name__ == "__main__":
    main()
