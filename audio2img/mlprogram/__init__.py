"""Apple's .mlpackage files: read without coremltools, and their programs run in NumPy.

Any ML program whose operations it knows; nothing here knows of diffusion.
"""
