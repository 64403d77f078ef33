//! Slot -> PostgreSQL binary field.
