spark-submit \
  --master 'local[2]' \
  --name 'dovetail import_events' \
  --driver-memory 1g \
  --conf spark.driver.bindAddress=127.0.0.1 \
  --conf spark.driver.host=127.0.0.1 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --conf spark.sql.shuffle.partitions=2 \
  --conf spark.ui.enabled=false \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/import_events.py \
  --lake build/lake \
  --format rees46 \
  --path history.csv \
  --most-rejected 0.5 \
  --pseudonym-key-env DOVETAIL_PSEUDONYM_KEY \
  --pseudonym-key-id k1
