-- What dashboards send, over lineitem: Superset's charts, Grafana's panels and variables.
-- name: superset_time_series
SELECT TIME_FLOOR(CAST(__time AS TIMESTAMP), 'P1D') AS __timestamp, l_shipmode AS l_shipmode, COUNT(*) AS "count" FROM druid.lineitem WHERE __time >= TIME_PARSE('1995-01-01T00:00:00') AND __time < TIME_PARSE('1996-01-01T00:00:00') GROUP BY l_shipmode, TIME_FLOOR(CAST(__time AS TIMESTAMP), 'P1D') ORDER BY "count" DESC LIMIT 10000
-- name: superset_table
SELECT l_shipinstruct AS l_shipinstruct, SUM(l_quantity) AS "SUM(l_quantity)", COUNT(DISTINCT l_shipmode) AS modes FROM druid.lineitem WHERE l_returnflag IN ('A', 'R') GROUP BY l_shipinstruct ORDER BY "SUM(l_quantity)" DESC LIMIT 1000
-- name: superset_filter_values
SELECT l_shipmode AS l_shipmode FROM druid.lineitem GROUP BY l_shipmode LIMIT 1000
-- name: superset_big_number
SELECT SUM(l_extendedprice) AS total FROM druid.lineitem WHERE __time >= TIME_PARSE('1995-01-01T00:00:00') AND __time < TIME_PARSE('1996-01-01T00:00:00') LIMIT 50000
-- name: grafana_time_series
SELECT TIME_FLOOR(__time, 'PT6H') AS t, l_shipmode, AVG(l_extendedprice) AS v FROM lineitem WHERE __time >= MILLIS_TO_TIMESTAMP(788918400000) AND __time <= MILLIS_TO_TIMESTAMP(796694400000) GROUP BY 1, 2 ORDER BY 1
-- name: grafana_variable
SELECT DISTINCT l_shipinstruct FROM lineitem WHERE l_shipinstruct IS NOT NULL
