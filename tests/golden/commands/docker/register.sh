spark-submit \
  --master spark://spark-master:7077 \
  --name 'dovetail register' \
  --driver-memory 1g \
  --deploy-mode client \
  --executor-memory 1g \
  --executor-cores 1 \
  --total-executor-cores 1 \
  --conf spark.driver.bindAddress=0.0.0.0 \
  --conf spark.driver.host=batch \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/register.py \
  --lake /var/lib/dovetail/lake \
  --prefix dovetail \
  --lasting true
