"""Submitting: the cluster's file, `ray up`, `ray submit` and `ray job submit` with a kill and a resume, `ray down`.

What runs Ray's commands does so on a machine of its own (see namespaces.py), which an ssh server and two addresses make a
cluster of two nodes.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from namespaces import machine, why_not

from retape.cluster import export_parameters

yaml = pytest.importorskip("yaml")
pytest.importorskip("ray")

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "cluster" / "cluster.yaml"
BIN = Path(sys.executable).parent
HEAD, OTHER = "127.0.0.1", "127.0.0.2"
# A small job that takes long enough to be killed on the way.
JOB = ["--model", "digits", "--steps", "600", "--workers", "2", "--snapshot-every", "20", "--resume", "auto"]

_SSHD = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
SetEnv RAY_USAGE_STATS_ENABLED=0
"""


def test_the_cluster_file_is_one_that_ray_accepts():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(TEMPLATE.read_text()))
    validate_config(config)
    assert [config["provider"]["head_ip"], *config["provider"]["worker_ips"]] == [f"192.0.2.{n}" for n in (10, 11, 12)]
    assert config["file_mounts"]["~/retape"] == "."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submit")
    for name in ("home", "client/.ray"):
        (folder / name).mkdir(parents=True)
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd_config").write_text(_SSHD.format(folder=folder))
    (folder / "home" / ".bash_profile").write_text(f"export PATH={BIN}:$PATH\n")
    (folder / "home" / ".bashrc").touch()
    # The template, with two addresses of this machine in the place of the cluster's, and what is installed here in the
    # place of what it installs. As they are one machine, the second must say who it is, keep its files apart, and not stop
    # the first.
    config = yaml.safe_load(TEMPLATE.read_text())
    config["provider"] |= {"head_ip": HEAD, "worker_ips": [OTHER]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "key")}
    config["setup_commands"] = []
    config["head_start_ray_commands"][-1] += f" --num-cpus=1 --node-ip-address={HEAD}"
    config["worker_start_ray_commands"] = [
        config["worker_start_ray_commands"][-1] + f" --num-cpus=1 --node-ip-address={OTHER} --temp-dir=/tmp/ray/other"
    ]
    (folder / "cluster.yaml").write_text(yaml.safe_dump(config))
    return folder


def bring_up(made, folder):
    # Ray gives a head half a minute to start, which may be too short on a busy machine; to call it again is the cure.
    for _ in range(3):
        process = made.start("ray", "up", "--yes", "--no-config-cache", folder / "cluster.yaml", folder=ROOT)
        said = process.communicate(timeout=300)[0]
        if process.returncode == 0:
            return
        if "timed out during startup" not in said:
            break
    raise AssertionError(said)


@pytest.fixture(scope="module")
def cluster(folder):
    """The machine, with the cluster up; taken down at the end."""
    home, path = folder / "client", f"{BIN}:{os.environ['PATH']}:/usr/sbin"
    # `ray job` finds the token only where it is told that there is one.
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore", "RAY_AUTH_MODE": "token"}
    with machine(folder, HOME=str(home), PATH=path, **quiet) as made:
        made.run(shutil.which("sshd", path=path), "-f", folder / "sshd_config")
        made.run("ray", "get-auth-token", "--generate")
        bring_up(made, folder)
        deadline = time.monotonic() + 400
        while OTHER not in (shown := made.run("ray", "list", "nodes", "--limit", "10", status=None)):
            assert time.monotonic() < deadline, shown
            time.sleep(2)
        yield made
        made.run("ray", "down", "--yes", folder / "cluster.yaml", folder=ROOT)
        assert "raylet" not in made.run("ps", "-A", "-o", "args")


def submission(folder, *arguments):
    return ["ray", "submit", folder / "cluster.yaml", "cluster/train.py", "--", *arguments]


def result_of(out):
    return json.loads((out / "result.json").read_text())


def live_step(out):
    try:
        return json.loads((out / "status.json").read_text())["step"]
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


@pytest.mark.slow
@pytest.mark.submit
@pytest.mark.skipif(why_not("sshd", "ssh", "rsync") is not None, reason=str(why_not()))
class TestOnACluster:
    def test_a_submitted_job_that_is_killed_goes_on_when_it_is_submitted_again(self, cluster, folder):
        out = folder / "home" / "run"
        submitted = cluster.start(*submission(folder, *JOB, "--out", out), folder=ROOT)
        deadline = time.monotonic() + 240
        while live_step(out) < 40 and submitted.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert submitted.poll() is None and live_step(out) >= 40, submitted.communicate()[0]
        live = json.loads((out / "status.json").read_text())
        driver, hosts = live["driver"], {worker["host"] for worker in live["workers"]}
        assert hosts == {HEAD, OTHER}
        cluster.run("kill", "-KILL", driver["pid"])
        submitted.communicate(timeout=60)
        assert submitted.returncode != 0 and not (out / "result.json").exists()
        shown = cluster.run(sys.executable, "-P", ROOT / "cluster" / "train.py", "status", out)
        assert "run: lost" in shown and "--resume auto" in shown

        said = cluster.run(*submission(folder, *JOB, "--out", out), folder=ROOT)
        assert "finished after step 600" in said
        result = result_of(out)
        assert (result["status"], result["step"], result["workers"]) == ("finished", 600, 2)
        steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines() if "loss" in line]
        assert sorted(set(steps)) == list(range(1, 601))
        # The driver took the code that `ray up` put beside the script, and the workers got it from the driver.
        assert (folder / "home" / "retape" / "cluster" / "run.py").is_file()
        assert list((folder / "ray").glob("session_*/runtime_resources/py_modules_files/*/retape/cluster/worker.py"))

    def test_a_job_of_ray_ships_the_checkout_and_ends_with_the_bits_of_the_one_that_was_killed(self, cluster, folder):
        out = folder / "home" / "job"
        job = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", "."]
        said = cluster.run(*job, "--", "python", "cluster/train.py", *JOB, "--out", out, folder=ROOT)
        assert "succeeded" in said and result_of(out)["status"] == "finished"
        killed, whole = (
            export_parameters(result_of(each)["snapshot"], each / "end.npz") for each in (folder / "home" / "run", out)
        )
        assert killed.keys() == whole.keys() and all(killed[name].tobytes() == whole[name].tobytes() for name in whole)

    def test_a_job_of_ray_that_fails_says_so_in_its_status_and_its_result(self, cluster, folder):
        out = folder / "home" / "failed"
        job = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", "."]
        flags = [*JOB, "--out", out, "--loss-limit", "0.001"]
        said = cluster.run(*job, "--", "python", "cluster/train.py", *flags, folder=ROOT, status=1)
        assert "above the limit of 0.001" in said
        assert result_of(out)["error"]["class"] == "NonFiniteLossError"

    def test_a_stopped_job_of_ray_is_preempted_with_a_snapshot(self, cluster, folder):
        out = folder / "home" / "stopped"
        environment = json.dumps({"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}})
        name = ["--submission-id", "stopped", "--address", "http://127.0.0.1:8265"]
        job = ["ray", "job", "submit", *name, "--working-dir", ".", "--no-wait", "--runtime-env-json", environment]
        cluster.run(*job, "--", "python", "cluster/train.py", *JOB, "--steps", "1000000", "--out", out, folder=ROOT)
        deadline = time.monotonic() + 240
        while live_step(out) < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        cluster.run("ray", "job", "stop", "stopped", "--address", "http://127.0.0.1:8265", status=None)
        result = result_of(out)
        assert (result["status"], result["error"]) == ("preempted", None)
        assert result["snapshot"].endswith(f"step-{result['step']:09d}.snapshot")
