#!/usr/bin/env python3
"""Uploads that a server answers early: do the clients get the answer?

Uploads 5 MB, by curl and by Python's http.client, to a server that answers 413
without reading the body: axum behind lastbyte's Listener, and beside it bare.
Every upload through lastbyte must get its status; else exit status 1.

    scripts/check-413.py [--uploads 1000]
"""

import argparse
import collections
import concurrent.futures
import http.client
import subprocess
import sys
import tempfile

import lib

SIZE = 5_000_000


def by_curl(server, body):
    # No `Expect: 100-continue`, which would avoid the upload.
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]
    command += ["--header", "Expect:", "--data-binary", f"@{body}", server.url]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    if done.returncode == 0:
        return done.stdout
    return f"{done.stdout} and exit status {done.returncode}"


def by_http_client(server, _):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    try:
        connection.request("POST", "/", bytes(SIZE))
        return str(connection.getresponse().status)
    except OSError as error:
        return type(error).__name__
    except http.client.HTTPException as error:
        return type(error).__name__
    finally:
        connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=1000, help="by each client (1000)")
    uploads = parser.parse_args().uploads
    lib.build("axum,serde")

    missed = False
    with tempfile.NamedTemporaryFile() as body:
        body.write(bytes(SIZE))
        body.flush()
        print(f"{'client':12} {'server':9} {'got 413':>12}  otherwise")
        for name, upload in [("curl", by_curl), ("http.client", by_http_client)]:
            for server_name, flags in [("lastbyte", []), ("bare", ["--bare"])]:
                with (
                    lib.Example("early_413", *flags) as server,
                    concurrent.futures.ThreadPoolExecutor(4) as pool,
                ):
                    got = collections.Counter()
                    jobs = [pool.submit(upload, server, body.name) for _ in range(uploads)]
                    for job in concurrent.futures.as_completed(jobs):
                        got[job.result()] += 1
                        lib.progress(f"{name}, {server_name}: {got.total()} of {uploads}")
                    lib.progress("")
                answered = got.pop("413", 0)
                others = ", ".join(f"{n} × {what}" for what, n in got.most_common())
                share = f"{answered}/{uploads}"
                print(f"{name:12} {server_name:9} {share:>12}  {others}", flush=True)
                missed |= server_name == "lastbyte" and answered != uploads
    if missed:
        sys.exit("missed: an upload through lastbyte did not get its status")


if __name__ == "__main__":
    main()
