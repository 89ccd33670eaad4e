CREATE TEMPORARY TABLE `batch_tiles_item_activity` (
  `slice` STRING NOT NULL,
  `span` STRING NOT NULL,
  `item_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `n` BIGINT NOT NULL,
  `views` BIGINT NOT NULL,
  `carts` BIGINT NOT NULL,
  `purchases` BIGINT NOT NULL,
  `units` BIGINT NOT NULL,
  `spend` DECIMAL(38, 4) NOT NULL,
  `last_event` BIGINT
);

-- as a value
ROW<`slice` STRING, `span` STRING, `item_id` STRING, `tile_start` BIGINT, `n` BIGINT, `views` BIGINT, `carts` BIGINT, `purchases` BIGINT, `units` BIGINT, `spend` DECIMAL(38, 4), `last_event` BIGINT>
