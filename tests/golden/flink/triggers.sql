CREATE TEMPORARY TABLE `triggers` (
  `trigger_id` STRING NOT NULL,
  `rule` STRING NOT NULL,
  `visitor_id` STRING NOT NULL,
  `item_id` STRING,
  `category` STRING,
  `event_id` STRING NOT NULL,
  `event_ms` BIGINT NOT NULL,
  `until_ms` BIGINT NOT NULL,
  `decided_ms` BIGINT NOT NULL
);

-- as a value
ROW<`trigger_id` STRING, `rule` STRING, `visitor_id` STRING, `item_id` STRING, `category` STRING, `event_id` STRING, `event_ms` BIGINT, `until_ms` BIGINT, `decided_ms` BIGINT>
