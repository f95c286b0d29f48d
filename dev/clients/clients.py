"""Python clients against a running server: pydruid (DB-API and SQLAlchemy), phoenixdb (Avatica protobuf), pyarrow, ADBC.

    clients.py http://127.0.0.1:8888

Loads 12,000 rows as datasource `clients` first.
"""

import json
import sys
import time
import types
import urllib.request
from datetime import datetime, timezone

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pyarrow
import requests
from pydruid.db import connect
from sqlalchemy import create_engine, text

for name in ("gssapi", "requests_gssapi"):
    module = types.ModuleType(name)
    module.HTTPSPNEGOAuth = object
    sys.modules.setdefault(name, module)
import phoenixdb  # noqa: E402, it asks for Kerberos, which is not needed here

ROWS = 12_000
base = sys.argv[1].rstrip("/")
host, port = base.removeprefix("http://").split(":")


def post(path, body):
    answer = requests.post(base + path, json=body, timeout=60)
    answer.raise_for_status()
    return answer


def load():
    rows = "\n".join(json.dumps({"t": n * 1000, "k": f"k{n % 5}", "n": n, "d": n / 4}) for n in range(ROWS))
    dimensions = ["k", {"type": "long", "name": "n"}, {"type": "double", "name": "d"}]
    schema = {
        "dataSource": "clients",
        "timestampSpec": {"column": "t", "format": "millis"},
        "dimensionsSpec": {"dimensions": dimensions},
        "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": False},
    }
    source = {"type": "inline", "data": rows}
    spec = {
        "dataSchema": schema,
        "ioConfig": {"type": "index_parallel", "inputSource": source, "inputFormat": {"type": "json"}},
        "tuningConfig": {"type": "index_parallel"},
    }
    task = post("/druid/indexer/v1/task", {"type": "index_parallel", "spec": spec}).json()["task"]
    for _ in range(600):
        status = requests.get(f"{base}/druid/indexer/v1/task/{task}/status", timeout=60).json()["status"]["status"]
        if status != "RUNNING":
            break
        time.sleep(0.1)
    assert status == "SUCCESS", status
    for _ in range(600):
        counted = requests.post(base + "/druid/v2/sql", json={"query": "SELECT COUNT(*) AS n FROM clients"}, timeout=60)
        if counted.status_code == 200 and counted.json() == [{"n": ROWS}]:
            return
        time.sleep(0.1)
    raise AssertionError("the rows are not served")


def pydruid():
    cursor = connect(host=host, port=int(port), path="/druid/v2/sql/", scheme="http", header=True).cursor()
    cursor.execute("SELECT k, SUM(n) AS s FROM clients WHERE k <> %(k)s GROUP BY k ORDER BY k", {"k": "k0"})
    rows = [tuple(row) for row in cursor.fetchall()]
    assert rows == [(f"k{k}", sum(range(k, ROWS, 5))) for k in range(1, 5)], rows
    engine = create_engine(f"druid://{host}:{port}/druid/v2/sql/?header=true")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM clients")).fetchall() == [(ROWS,)]


def avatica():
    with phoenixdb.connect(base + "/druid/v2/sql/avatica-protobuf/", autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT __time, k, n, d FROM clients WHERE n >= ? ORDER BY __time", [ROWS - 2])
        rows = cursor.fetchall()
        n = ROWS - 2
        first = datetime.fromtimestamp(n, timezone.utc).replace(tzinfo=None)
        assert rows[0] == [first, f"k{n % 5}", n, n / 4] and len(rows) == 2, rows


def arrow():
    query = "SELECT __time, k, n FROM clients ORDER BY __time"
    answer = post("/druid/v2/sql", {"query": query, "resultFormat": "arrow"})
    table = pyarrow.ipc.open_stream(answer.content).read_all()
    assert table.num_rows == ROWS and table.column("n").to_pylist() == list(range(ROWS))
    assert str(table.schema.field("__time").type) == "timestamp[ms, tz=UTC]", table.schema


def statement():
    query = "SELECT __time, k, n, d FROM clients ORDER BY __time"
    context = {"executionMode": "ASYNC", "rowsPerPage": 5000}
    taken = post("/druid/v2/sql/statements", {"query": query, "context": context}).json()["queryId"]
    path = f"{base}/druid/v2/sql/statements/{taken}"
    for _ in range(600):
        state = requests.get(path, timeout=60).json()["state"]
        if state not in ("ACCEPTED", "RUNNING"):
            break
        time.sleep(0.1)
    assert state == "SUCCESS", state
    answer = requests.get(path + "/results?resultFormat=arrow", timeout=60)
    table = pyarrow.ipc.open_stream(answer.content).read_all()
    types = [str(field.type) for field in table.schema]
    assert types == ["timestamp[ms, tz=UTC]", "string", "int64", "double"], types
    assert table.column("n").to_pylist() == list(range(ROWS))


def flight():
    """Arrow Flight SQL through ADBC: what pandas and Polars read by."""
    uri = base.replace("http://", "grpc://")
    login = {"username": "admin", "password": sys.argv[2]}
    with adbc_driver_flightsql.dbapi.connect(uri, db_kwargs=login, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT __time, k, n, d FROM clients ORDER BY __time")
            table = cursor.fetch_arrow_table()
            types = [str(field.type) for field in table.schema]
            assert types == ["timestamp[ms, tz=UTC]", "string", "int64", "double"], types
            assert table.column("n").to_pylist() == list(range(ROWS))
            for k in ("k1", "k2", "it's"):
                cursor.execute("SELECT COUNT(*) FROM clients WHERE k = ? AND n >= ?", parameters=(k, 7))
                expected = sum(1 for n in range(7, ROWS) if f"k{n % 5}" == k)
                assert cursor.fetchone() == (expected,), k
            # 3.6 million rows, a batch at a time.
            cursor.execute("SELECT a.n FROM clients a CROSS JOIN (SELECT n FROM clients LIMIT 300) b")
            rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
            assert rows == ROWS * 300, rows
            try:
                cursor.execute("SELECT nope FROM clients")
                raise AssertionError("a column that is not there")
            except adbc_driver_manager.Error as error:
                assert error.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT, error
                assert "nope" in str(error), error
        assert connection.adbc_get_table_schema("clients", db_schema_filter="druid").names == ["__time", "k", "n", "d"]
        objects = connection.adbc_get_objects(depth="all", db_schema_filter="druid").read_all().to_pylist()
        tables = objects[0]["catalog_db_schemas"][0]["db_schema_tables"]
        columns = [c["column_name"] for t in tables if t["table_name"] == "clients" for c in t["table_columns"]]
        assert columns == ["__time", "k", "n", "d"], columns
        assert connection.adbc_get_info()["vendor_name"] == "Henge"


load()
for client in (pydruid, avatica, arrow, statement, flight):
    client()
    print(f"{client.__name__}: ok")
