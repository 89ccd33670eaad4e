CREATE TEMPORARY TABLE `rejections` (
  `reason` STRING NOT NULL,
  `field` STRING,
  `detail` STRING,
  `raw` BYTES NOT NULL,
  `size` BIGINT NOT NULL,
  `sha256` STRING NOT NULL,
  `topic` STRING NOT NULL,
  `partition` INT NOT NULL,
  `offset` BIGINT NOT NULL,
  `kafka_ms` BIGINT NOT NULL
);

-- as a value
ROW<`reason` STRING, `field` STRING, `detail` STRING, `raw` BYTES, `size` BIGINT, `sha256` STRING, `topic` STRING, `partition` INT, `offset` BIGINT, `kafka_ms` BIGINT>
