"""Core ML image models: found in a folder, run by Core ML on a Mac and by NumPy anywhere else.

bundle finds the parts of a model and checks their contract; runtime loads a part; backend turns
a request into a picture with them.
"""
