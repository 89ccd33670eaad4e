"""Delivery of the Kafka sinks."""


def delivery(transactional_prefix: str | None) -> dict[str, str]:
    """The options of a sink that is exactly-once by transactions of this prefix, at-least-once without one."""
    if transactional_prefix is None:
        return {"sink.delivery-guarantee": "at-least-once"}
    return {
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": transactional_prefix,
        # above any checkpoint's duration, below the broker's transaction.max.timeout.ms of 15 minutes
        "properties.transaction.timeout.ms": "600000",
    }
