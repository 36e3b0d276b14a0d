"""How a machine draws, as a table: what it has, what the model needs, what the person wants."""

from __future__ import annotations

import pytest

from audio2img.backends.torch.needs import Needs
from audio2img.backends.torch.plan import Plan, PlanWishes, TorchDevice, make_plan
from audio2img.errors import MachineError, UsageError

GB = 10**9
SD2 = Needs({"text_encoder": 340_000_000, "unet": 866_000_000, "vae": 84_000_000}, 512, 512)
SDXL = Needs(
    {"text_encoder": 123_000_000, "text_encoder_2": 695_000_000, "unet": 2_567_000_000, "vae": 84_000_000},
    1024, 1024, unet_channels=4920, upcast_vae=True,
)  # fmt: skip
CPU = TorchDevice("cpu", "8 cores")
NONE = PlanWishes()


def card(free: float, capability: tuple[int, int] = (8, 6)) -> TorchDevice:
    return TorchDevice("cuda", "a card", int(free * GB), capability)


def test_the_processor_draws_plainly() -> None:
    assert make_plan(CPU, SD2, NONE) == Plan(CPU, "full", "full")
    assert make_plan(CPU, SD2, PlanWishes(low_memory=True)).tile_vae


def test_a_large_card_holds_everything() -> None:
    plan = make_plan(card(24), SD2, NONE)
    assert (plan.precision, plan.vae_precision, plan.offload, plan.tile_vae) == (
        "half",
        "half",
        "none",
        False,
    )
    assert (plan.channels_last, plan.graphs, plan.batch) == (False, True, 8)
    plan = make_plan(card(24), SDXL, NONE)
    assert (plan.vae_precision, plan.offload, plan.tile_vae) == ("full", "none", False)


@pytest.mark.parametrize(
    ("free", "offload", "tiles"),
    [
        (16, "none", False),
        (10, "none", True),
        (7.9, "text", True),
        (7, "text", True),
        (6.2, "parts", False),
        (6, "parts", False),
    ],
)
def test_sdxl_takes_what_there_is(free: float, offload: str, tiles: bool) -> None:
    plan = make_plan(card(free), SDXL, NONE)
    assert (plan.offload, plan.tile_vae) == (offload, tiles)
    assert plan.graphs == (offload != "parts"), "a recording needs room of its own"
    assert "GB are free" in plan.describe() or offload == "none"


def test_a_card_too_small_is_refused_with_the_numbers() -> None:
    with pytest.raises(MachineError, match=r"about 6\.0 GB on a card .* and 4\.0 GB are free") as caught:
        make_plan(card(4), SDXL, NONE)
    assert "`compute_units=cpu`" in caught.value.remedy


def test_wishes_win() -> None:
    plan = make_plan(card(24), SDXL, PlanWishes(precision="full", low_memory=True, compile=True))
    assert (plan.precision, plan.offload, plan.tile_vae, plan.compile) == ("full", "parts", True, True)
    assert "as asked for" in plan.describe()
    plan = make_plan(card(2), SD2, PlanWishes(low_memory=False))
    assert (plan.offload, plan.tile_vae) == ("none", False)
    plan = make_plan(card(24), SD2, PlanWishes(compile=True))
    assert (plan.graphs, plan.channels_last) == (False, True), "torch.compile makes graphs of its own"


@pytest.mark.parametrize(("free", "keeps"), [(24, True), (8, True), (6, False)])
def test_with_little_memory_what_draws_is_kept_for_several_pictures_where_it_fits(
    free: float, keeps: bool
) -> None:
    plan = make_plan(card(free), SDXL, PlanWishes(low_memory=True))
    assert (plan.offload, plan.keeps) == ("parts", keeps)
    assert ("kept for several pictures" in plan.describe()) == keeps
    assert not make_plan(card(6), SDXL, NONE).keeps, "else less would wait in main memory"
    less = plan.with_less_memory()
    assert (less is not None) == keeps
    assert less is None or not less.keeps


def test_old_cards_and_apples() -> None:
    assert make_plan(card(8, (5, 2)), SD2, NONE).precision == "full"
    assert not make_plan(card(24, (6, 1)), SD2, NONE).graphs
    plan = make_plan(TorchDevice("mps", "Apple's graphics card", 12 * GB), SD2, NONE)
    assert (plan.precision, plan.graphs, plan.channels_last) == ("half", False, False)


@pytest.mark.parametrize("given", [{"device": "tpu"}, {"precision": "quarter"}])
def test_wishes_that_make_no_sense(given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="there is no"):
        PlanWishes(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", [CPU, card(24)])
def test_less_memory_is_less_once(device: TorchDevice) -> None:
    less = make_plan(device, SD2, NONE).with_less_memory()
    assert less is not None
    assert less.tile_vae
    assert (less.offload == "parts") == (device.kind != "cpu")
    assert (less.graphs, less.batch) == (False, 1)
    assert less.with_less_memory() is None
