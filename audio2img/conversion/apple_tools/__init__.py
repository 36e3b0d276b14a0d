"""Apple's own Python package, python_coreml_stable_diffusion, where it is the reference.

It pins packages that the rest of the house cannot live with, so it has an environment of its own
(made by scripts/apple_env.py on the user's machine) and is called there as a process.
"""
