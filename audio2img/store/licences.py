"""Which licences a person has accepted: as they were shown, and when."""

from __future__ import annotations

from audio2img.store.receipts import LicenceRecord, now, read_receipt
from audio2img.store.rows import Wanted


def accept(model: Wanted, how: str) -> LicenceRecord:
    """The licence of `model`, accepted now. how: by which word of the person."""
    return LicenceRecord(model.row.licence, model.row.licence_url, now(), how)


def accepted_before(model: Wanted) -> LicenceRecord | None:
    """The licence that was accepted for an earlier download of the same model, if it is still the same."""
    receipt = read_receipt(model.key)
    if receipt is None or (receipt.licence.name, receipt.licence.url) != (
        model.row.licence,
        model.row.licence_url,
    ):
        return None
    return receipt.licence if receipt.licence.accepted else None
