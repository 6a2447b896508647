//! Examples of `tcs`. Each is a file in this folder.
