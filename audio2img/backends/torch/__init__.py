"""Image models in diffusers' form, drawn with torch: on CUDA, on Apple's cards (MPS), or on the processor.

folder finds the parts of a model and refuses what is no safetensors file; single_file makes a folder's
configuration for a checkpoint in one file; plan decides, in one place, how this machine draws; parts
loads; conditioning, unet, walk and vae are the stages of a picture; backend puts them together.

Nothing here reads a pickle or asks the network: weights come from safetensors files on this
machine, the store brings them there, and no other module of torch's world is asked for names.
"""
