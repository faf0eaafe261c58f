"""psycopg2 as it comes, made to wait in the hub by psycogreen."""

import os

import psycopg2

from green import KIND

if KIND == "gevent":
    from psycogreen.gevent import patch_psycopg
else:
    from psycogreen.eventlet import patch_psycopg
patch_psycopg()


def app(environ, start_response):
    """One advisory lock that each session shares: nobody gets on before all of them are there."""
    with psycopg2.connect(host=os.environ["PGHOST"], user="test", dbname="postgres") as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock_shared(1)")
        cursor.execute("select pg_sleep(0.05), count(*) from pg_locks where locktype = 'advisory'")
        while (count := cursor.fetchone()[1]) < int(environ["QUERY_STRING"]):
            cursor.execute("select pg_sleep(0.05), count(*) from pg_locks where locktype = 'advisory'")
        body = str(count).encode()
    connection.close()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
