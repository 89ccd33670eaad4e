"""The comparator without Python: a JSON source, closed sessions by the SESSION function, a sink that drops rows."""

import argparse

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment


def main() -> None:
    """Compose and submit."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("kafka", "topic"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--parallelism", type=int, default=2)
    given = parser.parse_args()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(given.parallelism)
    t_env = StreamTableEnvironment.create(env)
    t_env.execute_sql(f"""CREATE TEMPORARY TABLE events (
      event_id STRING, event_type STRING, user_id STRING, anonymous_id STRING, item_id STRING, category STRING,
      price STRING, quantity BIGINT, event_ms BIGINT, device STRING,
      event_time AS TO_TIMESTAMP_LTZ(event_ms, 3), WATERMARK FOR event_time AS event_time - INTERVAL '10' MINUTE
    ) WITH (
      'connector' = 'kafka', 'topic' = '{given.topic}', 'properties.bootstrap.servers' = '{given.kafka}',
      'properties.group.id' = 'sql', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
      'format' = 'json', 'json.ignore-parse-errors' = 'true'
    )""")
    t_env.execute_sql("""CREATE TEMPORARY TABLE closed (
      visitor STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3), `n` BIGINT, `viewed` BIGINT
    ) WITH ('connector' = 'blackhole')""")
    t_env.execute_sql("""CREATE TEMPORARY VIEW visits AS
      SELECT COALESCE(user_id, anonymous_id) AS visitor, event_type, event_time FROM events""")
    t_env.execute_sql("""INSERT INTO closed
      SELECT visitor, window_start, window_end, COUNT(*), SUM(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END)
      FROM SESSION(TABLE visits PARTITION BY visitor, DESCRIPTOR(event_time), INTERVAL '30' MINUTES)
      GROUP BY visitor, window_start, window_end""")


if __name__ == "__main__":
    main()
