//! The examples; each is a file of its own in this folder.
