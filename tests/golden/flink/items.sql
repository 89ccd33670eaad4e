CREATE TEMPORARY TABLE `items` (
  `item_id` STRING NOT NULL,
  `title` STRING NOT NULL,
  `category` STRING NOT NULL,
  `price` DECIMAL(18, 4),
  `currency` STRING,
  `updated_ms` BIGINT NOT NULL
);

-- as a value
ROW<`item_id` STRING, `title` STRING, `category` STRING, `price` DECIMAL(18, 4), `currency` STRING, `updated_ms` BIGINT>
