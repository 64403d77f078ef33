//! The source: the only place that knows rdkafka.
