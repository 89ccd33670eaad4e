spark-submit \
  --master spark://spark-master:7077 \
  --name 'dovetail check' \
  --driver-memory 1g \
  --deploy-mode client \
  --executor-memory 1g \
  --executor-cores 2 \
  --total-executor-cores 2 \
  --conf spark.driver.bindAddress=0.0.0.0 \
  --conf spark.driver.host=batch \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/check.py \
  --lake /var/lib/dovetail/lake \
  --cut 2026-11-20T00:00:00Z \
  --days 2 \
  --most-quarantined 0.3
