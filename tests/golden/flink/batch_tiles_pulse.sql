CREATE TEMPORARY TABLE `batch_tiles_pulse` (
  `slice` STRING NOT NULL,
  `span` STRING NOT NULL,
  `visitor_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `n` BIGINT NOT NULL,
  `views` BIGINT NOT NULL,
  `carts` BIGINT NOT NULL,
  `searches` BIGINT NOT NULL,
  `orders` BIGINT NOT NULL,
  `units` BIGINT NOT NULL,
  `spend` DECIMAL(38, 4) NOT NULL
);

-- as a value
ROW<`slice` STRING, `span` STRING, `visitor_id` STRING, `tile_start` BIGINT, `n` BIGINT, `views` BIGINT, `carts` BIGINT, `searches` BIGINT, `orders` BIGINT, `units` BIGINT, `spend` DECIMAL(38, 4)>
