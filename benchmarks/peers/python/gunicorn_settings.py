"""gunicorn's settings for the peers: PCF's numbers of processes and threads, no hooks."""

import os

bind = f"127.0.0.1:{os.environ['PORT']}"
workers = int(os.environ["WORKERS"])
worker_class = "gthread"
threads = int(os.environ.get("THREADS") or 8)
preload_app = True
keepalive = 75  # seconds
worker_tmp_dir = "/dev/shm"  # noqa: S108 - as PCF has it
control_socket_disable = True
