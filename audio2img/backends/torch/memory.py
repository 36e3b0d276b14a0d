"""When memory runs out: what torch's different allocators say, and giving back what they hold."""

from __future__ import annotations

import gc

_WORDS = (
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # the processor's allocator
    "not enough memory",  # the same on Windows
    "alloc_failed",  # cuBLAS, cuDNN
    "could not create a memory object",  # oneDNN
    "could not create a primitive",  # the same, which has few other reasons
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how some part of torch says that memory has run out."""
    if isinstance(error, MemoryError):
        return True
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _WORDS)


def release_memory() -> None:
    """Give back what torch keeps for later."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
