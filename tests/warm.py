"""Everything a worker process loads, loaded once: the system tests fork their workers from a process that has done so."""

import worker.cli
import worker.mail.room
import worker.process
import worker.queue.local
import worker.queue.redis
from worker.app import load_jobs

load_jobs(("actors", "drills"))

MODULES = (worker.cli, worker.mail.room, worker.process, worker.queue.local, worker.queue.redis)
