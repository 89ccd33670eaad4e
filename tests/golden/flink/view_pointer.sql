CREATE TEMPORARY TABLE `view_pointer` (
  `name` STRING NOT NULL,
  `live` STRING NOT NULL,
  `previous` ARRAY<STRING>,
  `cut_ms` BIGINT,
  `model_version` STRING,
  `model_uri` STRING,
  `updated_ms` BIGINT NOT NULL,
  `serial` INT NOT NULL,
  `info` STRING
);

-- as a value
ROW<`name` STRING, `live` STRING, `previous` ARRAY<STRING>, `cut_ms` BIGINT, `model_version` STRING, `model_uri` STRING, `updated_ms` BIGINT, `serial` INT, `info` STRING>
