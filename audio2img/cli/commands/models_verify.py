"""`audio2img models verify`: is what is here what it should be, and what do the mirrors say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from audio2img.cli import completions
from audio2img.cli.help import Command
from audio2img.cli.options import json_option, talk_options
from audio2img.cli.results import print_json
from audio2img.errors import Audio2ImgError, ModelError

if TYPE_CHECKING:
    from audio2img.cli.downloads import Bars
    from audio2img.store.rows import Wanted


@click.command(
    "verify", cls=Command, examples=("audio2img models verify", "audio2img models verify mini --remote")
)
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=completions.models())
@click.option(
    "--remote", is_flag=True, help="Ask the mirrors for revisions, sizes and hashes; fetch no model."
)
@json_option
@talk_options
def command(names: tuple[str, ...], remote: bool, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Read every file of the models on this machine again and compare its hash.

    Without NAME all of them. What the catalogue marks as unverified is reported with what was found:
    the commit, and for each file size and SHA-256, ready for a row in models.toml. Exits with 4 when
    something is not as it should be.
    """
    from audio2img.cli.downloads import Bars

    with Bars(quiet) as bars:
        models = _chosen(names, remote)
        tables = [_ask_mirrors(model, bars) if remote else _verify(model, bars) for model in models]
    if as_json:
        print_json(tables)
    else:
        for table in tables:
            _print_report(table)
        if not tables:
            click.echo("no model was downloaded yet: audio2img models get default")
    if bad := [table["name"] for table in tables if not table["ok"]]:
        remedy = (
            "see above" if remote else f"run: audio2img models remove {bad[0]}; then: models get {bad[0]}"
        )
        raise ModelError(f"not as it should be: {', '.join(bad)}", remedy)


def _chosen(names: tuple[str, ...], remote: bool) -> list[Wanted]:
    from audio2img.store.catalog import load_catalog
    from audio2img.store.receipts import all_receipts
    from audio2img.store.rows import Wanted

    if names:
        return [model for name in names for model in _meant(name, remote)]
    every = [Wanted(row, variant) for row in load_catalog() for variant in row.variants if not row.embedded]
    here = {receipt.key for receipt in all_receipts()}
    return every if remote else [model for model in every if model.key in here]


def _meant(name: str, remote: bool) -> list[Wanted]:
    """Of a model with variants all, or all that are here, unless `name` says which."""
    from audio2img.store.catalog import split_name
    from audio2img.store.receipts import read_receipt
    from audio2img.store.rows import Wanted

    row, variant = split_name(name)
    if row.embedded:
        raise ModelError(f"{row.name} comes with audio2img: there is nothing to verify", "name another one")
    models = [Wanted(row, one) for one in ((variant,) if variant else row.variants)]
    here = [model for model in models if read_receipt(model.key) is not None]
    if not remote and not here:
        raise ModelError(f"{name} is not on this machine", "see what is: audio2img models list --installed")
    return models if remote else here


def _verify(model: Wanted, bars: Bars) -> dict[str, Any]:
    """Hash what is here; of ggml files also whether whisper.cpp could load them."""
    from audio2img.store.receipts import read_receipt
    from audio2img.store.upkeep import verify_files

    receipt = read_receipt(model.key)
    assert receipt is not None, "only what is here is verified"
    verdicts = verify_files(receipt, model, bars)
    problems = [f"{one.path}: {one.verdict}" for one in verdicts if one.verdict != "ok"]
    if not problems and (reason := _why_unusable(model, receipt.model_path)):
        problems.append(reason)
    return {
        "name": model.name,
        "ok": not problems,
        "problems": problems,
        "unverified": model.row.unverified,
        "from": receipt.mirror,
        "commit": receipt.commit,
        "files": [{"path": one.path, "bytes": one.size_bytes, "sha256": one.sha256} for one in verdicts],
    }


def _why_unusable(model: Wanted, path: str) -> str:
    from audio2img.recognition.ggml import check_vad_file, check_whisper_file

    checks = {"speech": check_whisper_file, "vad": check_vad_file}
    try:
        if model.row.format == "ggml" and model.row.kind in checks:
            checks[model.row.kind](path)
    except Audio2ImgError as error:
        return error.message
    return ""


def _ask_mirrors(model: Wanted, bars: Bars) -> dict[str, Any]:
    """What each hub says of a model's files; nothing is downloaded. Mirrors by url are left out."""
    from audio2img.store.get import check_gettable
    from audio2img.store.hub import list_hub_files
    from audio2img.store.patience import MirrorError, Patience

    check_gettable(model)  # refuses when the network is off
    problems: list[str] = []
    commit, answered, files = "", "", []
    hubs = [mirror for mirror in model.row.mirrors if mirror.hub]
    for mirror in hubs:
        try:
            patience = Patience.from_environment()
            listing = list_hub_files(mirror, model.variant, model.row.format, bars, patience)
        except MirrorError as error:
            problems.append(f"{mirror}: {error}")
            continue
        if not answered:
            answered, commit = str(mirror), listing.commit
            files = [
                {"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256} for file in listing.files
            ]
    return {
        "name": model.name,
        "ok": bool(answered) or not hubs,
        "problems": problems,
        "unverified": model.row.unverified,
        "from": answered,
        "commit": commit,
        "files": files,
    }


def _print_report(table: dict[str, Any]) -> None:
    state = "ok" if table["ok"] else "NOT OK"
    source = f", from {table['from']}" if table["from"] else ""
    click.echo(f"{table['name']}: {state}, {len(table['files'])} files{source}")
    for problem in table["problems"]:
        click.echo(f"  {problem}")
    if table["unverified"] and table["ok"] and table["files"]:
        click.echo("  the catalogue does not know all of this yet:")
        if table["commit"]:
            click.echo(f'  revision = "{table["commit"]}"')
        for file in table["files"]:
            sha256 = f', sha256 = "{file["sha256"]}"' if file["sha256"] else ""
            click.echo(f'  {{ path = "{file["path"]}", bytes = {file["bytes"]}{sha256} }},')
