"""Workers for studies as Slurm jobs. Runs where the coordinator does, for as long as there are studies; Enter ends it.

python slurm.py --host ADDRESS-OF-THIS-MACHINE --jobs 10
"""

import argparse

from dask_jobqueue import SLURMCluster

parser = argparse.ArgumentParser(description="Workers for studies as Slurm jobs.")
parser.add_argument("--host", required=True, help="this machine in the network of the nodes, and only there")
parser.add_argument("--jobs", type=int, default=10, help="Slurm jobs")
parser.add_argument("--cores", type=int, default=16, help="cores of a job, a worker each")
parser.add_argument("--memory", default="48GB", help="of a job")
parser.add_argument("--walltime", default="08:00:00", help="of a job")
parser.add_argument("--queue", help="Slurm's partition; default: the site's")
parser.add_argument("--data", help="folder of data sets that all nodes see (HARNESS_DATA)")

if __name__ == "__main__":
    asked = parser.parse_args()
    variables = {"OMP_NUM_THREADS": "1"} | ({"HARNESS_DATA": asked.data} if asked.data else {})
    with SLURMCluster(
        cores=asked.cores,
        processes=asked.cores,  # one thread a worker
        memory=asked.memory,
        walltime=asked.walltime,
        queue=asked.queue,
        job_script_prologue=[f"export {name}='{value}'" for name, value in variables.items()],
        worker_extra_args=["--no-dashboard"],
        scheduler_options={"host": asked.host, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        # as many as are wanted: a coordinator asks for no more work at once than there are workers
        cluster.scale(jobs=asked.jobs)
        cluster.wait_for_workers(1)
        print(cluster.scheduler_address, flush=True)
        input()
