CREATE TEMPORARY TABLE `batch_sessions` (
  `visitor_id` STRING NOT NULL,
  `session_start` BIGINT NOT NULL,
  `session_end` BIGINT NOT NULL,
  `events` BIGINT NOT NULL,
  `pages` BIGINT NOT NULL,
  `items` BIGINT NOT NULL,
  `categories` BIGINT NOT NULL,
  `spend` DECIMAL(38, 4) NOT NULL,
  `weight` BIGINT NOT NULL,
  `intent` INT NOT NULL,
  `entry` STRING,
  `exit` STRING,
  `device` STRING,
  `suspected_bot` BOOLEAN NOT NULL,
  `closed` BOOLEAN NOT NULL,
  `session_date` DATE NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `session_start` BIGINT, `session_end` BIGINT, `events` BIGINT, `pages` BIGINT, `items` BIGINT, `categories` BIGINT, `spend` DECIMAL(38, 4), `weight` BIGINT, `intent` INT, `entry` STRING, `exit` STRING, `device` STRING, `suspected_bot` BOOLEAN, `closed` BOOLEAN, `session_date` DATE>
