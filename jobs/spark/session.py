"""The Spark session of a job: UTC, Delta, few shuffle partitions; the submitter's settings win."""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from common.errors import MissingRequirement

DEFAULTS: dict[str, str] = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # A run says one line a step; Spark's own progress would bury it, and an error's one line with it.
    "spark.log.level": "WARN",
    "spark.sql.session.timeZone": "UTC",
    # Tables are known by their paths; without this Spark leaves an empty folder where it was started.
    "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "dovetail-warehouse"),
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Tasks already share the cores among them: threads of numpy's own inside each would only wait for one another.
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.databricks.delta.snapshotPartitions": "2",
    # VACUUM and partition discovery list folders with 10,000 tasks by default.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    # Spark keeps the classes it has generated for 100 plans. A chain has more, and Delta's own for reading its log come
    # back with each table: they would be compiled, and then warmed up, again and again.
    "spark.sql.codegen.cache.maxEntries": "2000",
    # An insert-only MERGE then rewrites no file.
    "spark.databricks.delta.merge.optimizeInsertOnlyMerge.enabled": "true",
}
"""What every job needs, wherever it runs."""

LOCAL: dict[str, str] = {
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # Spark remembers a thousand jobs and queries for its pages, each with the text of its plan: a long session without
    # pages would spend its heap on them, and then its time on collecting it.
    "spark.ui.retainedJobs": "20",
    "spark.ui.retainedStages": "20",
    "spark.ui.retainedTasks": "1000",
    "spark.sql.ui.retainedExecutions": "5",
    "spark.sql.ui.explainMode": "simple",
    # One machine: code generation of small plans costs more than it saves beyond this many fields.
    "spark.sql.codegen.maxFields": "200",
}
"""What a session inside one process adds, with two cores in mind."""


def create_session(name: str) -> SparkSession:
    """The session of a submitted job: what ``spark-submit`` was given wins over :data:`DEFAULTS`.

    Raises MissingRequirement where Delta's jars are not on the class path.
    """
    # A Python that spark-submit has started knows what was submitted once it is connected to its JVM, not before.
    SparkContext._ensure_initialized()
    given = SparkConf()
    builder = SparkSession.builder.appName(name)
    in_process = given.get("spark.master", "local[*]").startswith("local[")
    for key, value in {**DEFAULTS, **(LOCAL if in_process else {})}.items():
        if not given.contains(key):
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    _require_delta(spark)
    return spark


def local_session(
    name: str,
    jars: Path,
    *,
    master: str = "local[2]",
    memory: str = "1g",
    log: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> SparkSession:
    """A session inside this process, for the demo and for tests.

    ``jars`` is the folder that holds Delta's jars; ``log`` takes what Spark logs, None leaves it on stderr. Raises
    MissingRequirement where there is no Delta jar.
    """
    if not any(Path(jars).glob("delta-spark*.jar")):
        raise MissingRequirement(f"no Delta jar in {jars}: run `make jars`")
    _share_python()
    builder = SparkSession.builder.appName(name).master(master)
    everything = {
        **DEFAULTS,
        **LOCAL,
        "spark.driver.memory": memory,
        "spark.driver.extraJavaOptions": " ".join((*SHORT_LIVED, *(_logging_to(log) if log else ()))),
        "spark.driver.extraClassPath": ":".join(str(p.resolve()) for p in delta_jars(jars)),
        **(settings or {}),
    }
    for key, value in everything.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    _require_delta(spark)
    return spark


SHORT_LIVED = (
    "-XX:+UseSerialGC",
    # A short session runs most of its code once: compiling it well costs more than it brings on two cores.
    "-XX:TieredStopAtLevel=1",
    # The cheap compiler's own limit is 48 MB; a chain of jobs fills it, and then nothing more is compiled.
    "-XX:ReservedCodeCacheSize=256m",
)
"""What makes Java start lightly, for little data."""


def _logging_to(log: Path) -> tuple[str, ...]:
    """The option that sends Spark's log to a file; its configuration is written beside it."""
    configuration = log.with_suffix(".log4j2.properties")
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(_LOG4J.format(log=log.resolve()), encoding="utf-8")
    return (f"-Dlog4j2.configurationFile={configuration.resolve().as_uri()}",)


_LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = {log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %c{{1}}: %m%n%ex
"""


def _share_python() -> None:
    """Give the session's workers this interpreter, and this project where it is not installed."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    root = str(Path(__file__).resolve().parents[2])
    paths = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *paths])


def delta_jars(folder: Path) -> list[Path]:
    """The jars of a resolved Delta dependency that Spark itself does not bring."""
    ours = ("delta-", "unitycatalog-")
    return sorted(p for p in Path(folder).glob("*.jar") if p.name.startswith(ours))


def _require_delta(spark: SparkSession) -> None:
    jvm: Any = spark.sparkContext._jvm
    loader = jvm.Thread.currentThread().getContextClassLoader()
    try:
        loader.loadClass("io.delta.sql.DeltaSparkSessionExtension")
    except Exception as error:
        raise MissingRequirement(
            "Delta's jars are not on Spark's class path: run `make jars` and give them to spark-submit with --jars"
        ) from error
