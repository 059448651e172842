"""Models: pretrained networks, the vectors they give, networks that are trained, and predictions."""
