//! Schema registry client: the only place that knows schema_registry_converter.
