//! The shell that runs the decision core.
