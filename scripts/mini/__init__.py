"""What the training and evaluation scripts of the embedded mini models share."""
