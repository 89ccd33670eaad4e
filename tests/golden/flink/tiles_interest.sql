CREATE TEMPORARY TABLE `tiles_interest` (
  `visitor_id` STRING NOT NULL,
  `tile_start` BIGINT NOT NULL,
  `dim` STRING NOT NULL,
  `n` BIGINT NOT NULL,
  `mass` BIGINT NOT NULL
);

-- as a value
ROW<`visitor_id` STRING, `tile_start` BIGINT, `dim` STRING, `n` BIGINT, `mass` BIGINT>
