"""What runs the models. `base` is the seam; each other member is one way behind it."""
