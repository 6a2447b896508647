"""What `count` and `run` share."""
