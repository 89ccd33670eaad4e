spark-submit \
  --master spark://spark.example:7077 \
  --name 'dovetail rollback' \
  --driver-memory 4g \
  --deploy-mode client \
  --executor-memory 8g \
  --executor-cores 4 \
  --total-executor-cores 16 \
  --conf spark.pyspark.driver.python=python3 \
  --conf spark.pyspark.python=python3 \
  --jars build/jars/delta/delta-spark.jar,build/jars/delta/unitycatalog-client.jar \
  --py-files dist/dovetail.zip \
  jobs/rollback.py \
  --lake /srv/dovetail/lake \
  --cassandra cassandra-1.example:9042,cassandra-2.example:9042,cassandra-3.example:9042 \
  --keyspace dovetail \
  --cassandra-user-env DOVETAIL_CASSANDRA_USER \
  --cassandra-password-env DOVETAIL_CASSANDRA_PASSWORD \
  --pointer true
