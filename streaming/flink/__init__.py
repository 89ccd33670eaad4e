"""What the steps share of Flink: the environment, sources and sinks, and contracts rendered as DDL."""
