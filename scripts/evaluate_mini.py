"""Measure the embedded mini models.

python -m scripts.evaluate_mini speech
python -m scripts.evaluate_mini pictures    # the diffusers folder
python -m scripts.evaluate_mini packages    # the Core ML packages converted from it
"""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(context_settings={"show_default": True})
@click.argument("which", type=click.Choice(["speech", "pictures", "packages"]))
@click.option("--model-dir", type=click.Path(path_type=Path, exists=True), default=Path("models/mini"))
@click.option("-n", "n", type=int, default=100, help="Clips in each set, or scenes.")
@click.option("--seed", type=int, default=1)
def main(which: str, model_dir: Path, n: int, seed: int) -> None:
    """Print the figures as JSON, and as a Markdown table on stderr where there is one."""
    if which == "speech":
        from scripts.mini import evaluate_speech

        results = evaluate_speech.main(model_dir, n, seed)
        click.echo(evaluate_speech.write_table(results), err=True)
    elif which == "pictures":
        from scripts.mini import evaluate_pictures

        results = evaluate_pictures.main(model_dir, n, seed)
    else:
        from scripts.mini import evaluate_packages

        results = evaluate_packages.main(model_dir, n, seed)
    click.echo(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
