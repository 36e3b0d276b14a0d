"""Does this machine do what it should: facts about it, and what was computed on it compared.

checks says what the answer to a question looks like; plain asks those of `audio2img doctor`; machine
asks the system; draws and parts have Core ML compute in processes of their own (worker, child) and
compare with the reference runtime; deep puts all of it in order for `audio2img doctor --deep`.
"""
