"""What stays on the disk: pictures that remember how they were made, under names that never collide."""

from audio2img.output.pictures import (
    check_target,
    format_of,
    newest_picture,
    read_ignored,
    read_own_record,
    read_record,
    write_picture,
)
from audio2img.output.record import PictureRecord, model_places

__all__ = [
    "PictureRecord",
    "check_target",
    "format_of",
    "model_places",
    "newest_picture",
    "read_ignored",
    "read_own_record",
    "read_record",
    "write_picture",
]
