spark-submit \
  --master 'local[2]' \
  --name 'dovetail check' \
  --driver-memory 1g \
  --conf spark.driver.bindAddress=127.0.0.1 \
  --conf spark.driver.host=127.0.0.1 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --conf spark.sql.shuffle.partitions=2 \
  --conf spark.ui.enabled=false \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/check.py \
  --lake build/lake \
  --cut 2026-11-20T00:00:00Z \
  --days 2 \
  --most-quarantined 0.3
