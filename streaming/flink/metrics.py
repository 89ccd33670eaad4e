"""Figures of a Python function among Flink's metrics, and so with Flink's reporters (Prometheus, JMX, ...)."""

from pyflink.table.udf import FunctionContext

from views.metrics import WriteMetrics

COUNTS = ("rows", "batches", "superseded", "expired", "retries")


def report_writer(context: FunctionContext, metrics: WriteMetrics) -> None:
    """Register a writer's figures as gauges: ``writer.rows``, ``.batches``, ``.retries``, ..., ``.p99_ms``.

    Flink asks for them at the end of a bundle; counts are since the worker started.
    """
    group = context.get_metric_group().add_group("writer")
    for name in COUNTS:
        group.gauge(name, lambda name=name: int(getattr(metrics, name)))
    group.gauge("p99_ms", lambda: round(metrics.quantile(0.99) * 1_000))
