"""`python -m audio2img` is the same as the `audio2img` command."""

from audio2img.cli import main

main()
