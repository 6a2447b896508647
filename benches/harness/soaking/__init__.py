"""What `benches/soak` is made of: peers, those that behave, those that do not, and what is checked."""
