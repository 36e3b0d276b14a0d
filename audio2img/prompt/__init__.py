"""What was said or heard becomes what is drawn: clean-up, styles, templates, scenes, the small world.

Pure text in, text out; nothing here knows of models.
"""

from audio2img.prompt.prompts import fit_prompt, make_prompt
from audio2img.prompt.styling import find_style, find_template, list_styles
from audio2img.prompt.wording import clean_transcript

__all__ = ["clean_transcript", "find_style", "find_template", "fit_prompt", "list_styles", "make_prompt"]
