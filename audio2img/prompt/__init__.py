"""What was said or heard becomes what is drawn: clean-up, styles, templates, scenes, the small world.

Pure text in, text out; nothing here knows of models.
"""

from audio2img.prompt.prompt import clean_transcript, fit_prompt, make_prompt

__all__ = ["clean_transcript", "fit_prompt", "make_prompt"]
