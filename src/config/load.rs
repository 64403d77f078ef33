//! Reads the file and resolves ${env:} and ${file:}.
