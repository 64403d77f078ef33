//! Problems with their place in the file.
