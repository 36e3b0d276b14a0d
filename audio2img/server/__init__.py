"""The server: one process with one queue, and its doors: the page.

It needs the extra `web`; `serving.serve` runs it.
"""
