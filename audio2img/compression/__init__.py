"""Smaller weights for Core ML packages: palettes, mixed bits, and a report.

A package is rewritten tensor by tensor, straight from its weight file into a new one; the rest of
its program stays as it is, and nothing here needs coremltools.

kmeans and palettes make what a weight becomes; operation, program and package write it; pieces
keeps what is done, so that an interrupted run is taken up, and workers spreads it over processes;
rig draws what is compared, sensitivity tries weights alone, mixed and search share out the bits; job
ties them together.
"""
