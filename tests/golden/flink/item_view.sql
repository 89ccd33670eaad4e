CREATE TEMPORARY TABLE `item_view` (
  `item_id` STRING NOT NULL,
  `title` STRING NOT NULL,
  `category` STRING NOT NULL,
  `price` DECIMAL(18, 4),
  `similar` BYTES,
  `model_version` STRING
);

-- as a value
ROW<`item_id` STRING, `title` STRING, `category` STRING, `price` DECIMAL(18, 4), `similar` BYTES, `model_version` STRING>
