CREATE TEMPORARY TABLE `tiles_popularity` (
  `item_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `n` BIGINT NOT NULL,
  `mass` BIGINT NOT NULL,
  `purchases` BIGINT NOT NULL
);

-- as a value
ROW<`item_id` STRING, `tile_start` BIGINT, `n` BIGINT, `mass` BIGINT, `purchases` BIGINT>
