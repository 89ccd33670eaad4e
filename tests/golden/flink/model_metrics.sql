CREATE TEMPORARY TABLE `model_metrics` (
  `model_version` STRING NOT NULL,
  `ranking` STRING NOT NULL,
  `segment` STRING NOT NULL,
  `k` INT NOT NULL,
  `users` BIGINT NOT NULL,
  `precision` DOUBLE NOT NULL,
  `recall` DOUBLE NOT NULL,
  `ndcg` DOUBLE NOT NULL,
  `map` DOUBLE NOT NULL,
  `coverage` DOUBLE NOT NULL,
  `novelty` DOUBLE NOT NULL,
  `popularity_bias` DOUBLE NOT NULL,
  `f1` DOUBLE,
  `auc` DOUBLE
);

-- as a value
ROW<`model_version` STRING, `ranking` STRING, `segment` STRING, `k` INT, `users` BIGINT, `precision` DOUBLE, `recall` DOUBLE, `ndcg` DOUBLE, `map` DOUBLE, `coverage` DOUBLE, `novelty` DOUBLE, `popularity_bias` DOUBLE, `f1` DOUBLE, `auc` DOUBLE>
