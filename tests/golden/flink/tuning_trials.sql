CREATE TEMPORARY TABLE `tuning_trials` (
  `study` STRING NOT NULL,
  `trial` INT NOT NULL,
  `cut_ms` BIGINT NOT NULL,
  `search` STRING NOT NULL,
  `mode` STRING NOT NULL,
  `rank` INT NOT NULL,
  `iterations` INT NOT NULL,
  `reg` DOUBLE NOT NULL,
  `alpha` DOUBLE NOT NULL,
  `seed` BIGINT NOT NULL,
  `ndcg` DOUBLE,
  `seconds` DOUBLE NOT NULL,
  `outcome` STRING NOT NULL,
  `input_version` BIGINT
);

-- as a value
ROW<`study` STRING, `trial` INT, `cut_ms` BIGINT, `search` STRING, `mode` STRING, `rank` INT, `iterations` INT, `reg` DOUBLE, `alpha` DOUBLE, `seed` BIGINT, `ndcg` DOUBLE, `seconds` DOUBLE, `outcome` STRING, `input_version` BIGINT>
