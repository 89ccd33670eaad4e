CREATE TEMPORARY TABLE `events` (
  `event_id` STRING NOT NULL,
  `event_type` STRING NOT NULL,
  `visitor_id` STRING NOT NULL,
  `user_id` STRING,
  `anonymous_id` STRING,
  `item_id` STRING,
  `category` STRING NOT NULL,
  `price` DECIMAL(18, 4),
  `currency` STRING,
  `quantity` INT,
  `order_id` STRING,
  `line` INT,
  `query` STRING,
  `value` DOUBLE,
  `recommendation_id` STRING,
  `event_ms` BIGINT NOT NULL,
  `ingest_ms` BIGINT NOT NULL,
  `device` STRING,
  `country` STRING,
  `referrer` STRING,
  `source` STRING,
  `properties` MAP<STRING, STRING>
);

-- as a value
ROW<`event_id` STRING, `event_type` STRING, `visitor_id` STRING, `user_id` STRING, `anonymous_id` STRING, `item_id` STRING, `category` STRING, `price` DECIMAL(18, 4), `currency` STRING, `quantity` INT, `order_id` STRING, `line` INT, `query` STRING, `value` DOUBLE, `recommendation_id` STRING, `event_ms` BIGINT, `ingest_ms` BIGINT, `device` STRING, `country` STRING, `referrer` STRING, `source` STRING, `properties` MAP<STRING, STRING>>
