"""What an idle worker process costs, and how soon it begins when a job comes: both of the same process, in one run."""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent
SECRET = "a secret key for benchmarks, of some length"  # noqa: S105 (a throw-away database's)
# One job at a time, so that each finds the worker idle: between half a tenth and one and a half seconds of silence.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.5
LOOK_SECONDS = 0.001
AIM_PERCENT, AIM_SECONDS = 3.0, 0.1


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used so far, of all its threads (proc(5): utime and stime in ticks)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_percent(pid: int, seconds: float) -> float:
    """How much of one core the process uses while nothing comes."""
    before, begin = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - begin)


def pick_up(database_url: str, broker_url: str, jobs: int, first: int = 0) -> list[float]:
    """Submit single jobs at random intervals; the seconds from the call of submit to the committed effect."""
    from worker.app import App
    from worker.intake import Request
    from worker.settings import Settings

    app = App(Settings(database_url=database_url, broker_url=broker_url, secret_key=SECRET))
    took = []
    question = "SELECT 1 FROM job WHERE id = %s AND state = 'succeeded'"
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as look:
        for number in range(first, first + jobs):
            time.sleep(random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE))
            begin = time.monotonic()
            [answer] = app.submit([Request("create_group", {"group": f"group-{number}"}, "benchmark")])
            while look.execute(question, (answer.id,)).fetchone() is None:
                time.sleep(LOOK_SECONDS)
            took.append(time.monotonic() - begin)
    app.close()
    return took


def main(arguments: list[str]) -> None:
    """Start PostgreSQL, Redis and one worker process that serves all queues; print what it costs and how quick it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long to watch it idle (default 30)")
    parser.add_argument("--jobs", type=int, default=60, help="how many single jobs to send (default 60)")
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(HERE.parent / "tests"))
    from servers import PostgresServer, RedisServer

    from worker import migrate

    with PostgresServer(durable=True) as postgres, RedisServer(aof=True) as redis:
        url = postgres.create_database("muster")
        migrate.upgrade(url)
        settings = {"MUSTER_DATABASE_URL": url, "MUSTER_BROKER_URL": redis.url, "MUSTER_SECRET_KEY": SECRET}
        command = [sys.executable, "-m", "worker", "worker", "--child"]
        worker = subprocess.Popen(
            command, env={**os.environ, **settings, "MUSTER_LOG_LEVEL": "warning"}, cwd=HERE.parent
        )
        try:
            pick_up(url, redis.url, 5)  # the first ones compile statements
            percent = idle_percent(worker.pid, given.seconds)
            took = sorted(pick_up(url, redis.url, given.jobs, first=5))
        finally:
            worker.terminate()
            worker.wait(timeout=30)
    p95 = took[round(0.95 * (len(took) - 1))]
    print("one idle worker process serving all queues on PostgreSQL (fsync) and Redis")
    print(f"processor            {percent:6.2f} % of a core over {given.seconds:.0f} s     (aim: under {AIM_PERCENT:.0f} %)")
    print(f"submit → committed   {1000 * statistics.median(took):6.1f} ms median, {1000 * p95:.1f} ms p95, "
          f"{1000 * took[-1]:.1f} ms longest of {len(took)}     (aim: p95 under {1000 * AIM_SECONDS:.0f} ms)")  # fmt: skip
