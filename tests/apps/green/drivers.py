"""psycopg2 as it comes, made to wait in the hub by psycogreen."""

import os

import psycopg2

from green import KIND

if KIND == "gevent":
    from psycogreen.gevent import patch_psycopg
else:
    from psycogreen.eventlet import patch_psycopg
patch_psycopg()


most = 0


def app(environ, start_response):
    """Each session has an advisory lock that all may share; nobody gets on before all of them have been there."""
    global most
    wanted = int(environ["QUERY_STRING"])
    with psycopg2.connect(host=os.environ["PGHOST"], user="test", dbname="postgres") as connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock_shared(1)")
        while most < wanted:
            cursor.execute("select pg_sleep(0.05), count(*) from pg_locks where locktype = 'advisory'")
            most = max(most, cursor.fetchone()[1])
    connection.close()
    body = str(most).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
