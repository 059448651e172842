"""Pretrained networks behind one contract: structures in, pooled vectors of every checkpoint out."""
