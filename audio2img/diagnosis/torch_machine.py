"""How this machine draws with torch and diffusers: what it decides, and whether the picture is right."""

from __future__ import annotations

from importlib.metadata import version

from audio2img.config import Settings, embedded_models_dir
from audio2img.diagnosis.checks import Check
from audio2img.diagnosis.draws import PROMPT, SEED
from audio2img.installation import how_to_add
from audio2img.mlprogram.signal import PIXEL_PEAK, psnr_db
from audio2img.store.defaults import this_machine

STEPS = 10  # so that the second picture is drawn with what a graphics card's driver records
LEAST_DB = 30.0  # through half precision there, and packages of 8 bits here; another seed's is below 20
SD21_PARAMETERS = {"text_encoder": 340_000_000, "unet": 866_000_000, "vae": 84_000_000}


def check_torch(settings: Settings) -> Check:
    """What draws a Stable Diffusion 2.1 here, and how."""
    if not this_machine().has_diffusers:
        return Check("torch", "note", "torch and diffusers are not installed", how_to_add("diffusers"))
    from audio2img.backends.torch.needs import Needs
    from audio2img.backends.torch.plan import PlanWishes, find_device, make_plan

    wishes = PlanWishes(
        settings.compute_units, settings.precision, settings.low_memory, bool(settings.compile)
    )
    plan = make_plan(find_device(wishes.device), Needs(SD21_PARAMETERS, 512, 512), wishes)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "transformers"))
    figures = {"device": plan.device.kind, "free_bytes": plan.device.free_bytes, "precision": plan.precision}
    return Check("torch", "ok", f"{packages}; draws sd21 on {plan.describe()}", figures=figures)


def check_torch_picture(settings: Settings) -> Check:
    """The mini model's picture by torch, on the device that it takes, against the reference runtime's."""
    name = "torch picture"
    if not this_machine().has_diffusers:
        return Check(name, "skip", "torch and diffusers are not installed")
    from audio2img.backends.coreml.backend import CoreMLBackend
    from audio2img.backends.torch.backend import DiffusersBackend
    from audio2img.backends.torch.plan import PlanWishes
    from audio2img.types import ImageRequest

    wishes = PlanWishes(settings.compute_units, settings.precision, settings.low_memory)
    request = ImageRequest(PROMPT, seed=SEED, steps=STEPS)
    ours = DiffusersBackend.load(embedded_models_dir() / "diffusers", "mini", wishes)
    first = ours.generate(request)
    found = ours.generate(request)  # with what the first one has prepared, such as CUDA graphs
    expected = CoreMLBackend.load(embedded_models_dir() / "coreml", "mini").generate(request)
    decibels = min(psnr_db(one.pixels, expected.pixels, PIXEL_PEAK) for one in (first, found))
    figures = {"picture_db": round(decibels, 2), "duration_s": round(found.duration_s, 3)}
    detail = f"{decibels:.1f} dB from the reference, {found.duration_s:.2f} s on {ours.plan.describe()}"
    if decibels < LEAST_DB:
        remedy = "try: --precision full, or --compute-units cpu; and report this line"
        return Check(name, "fail", f"another picture: {detail}", remedy, figures)
    return Check(name, "ok", detail, figures=figures)
