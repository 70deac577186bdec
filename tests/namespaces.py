"""Makes a machine inside the machine: processes, network and shared memory of its own, for what ends every Ray process.

`ray up`, `ray stop` and `ray down` kill all of Ray that they can see. In here they see only what was started in here.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The first process of the machine is a shell, for it has to reap those that lose their parents.
_INIT = """
ip link set lo up && mount -t tmpfs tmpfs /dev/shm && mkdir -p /tmp/ray /run/sshd && mount --bind "$1/ray" /tmp/ray &&
mount --bind "$1/passwd" /etc/passwd && touch "$1/ready"
while :; do sleep 1; done
"""
_UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--ipc", "--mount"]


class Machine:
    """A machine whose first process is `pid`; it has this one's files, but for /dev/shm, Ray's folder and root's home."""

    def __init__(self, pid: int, variables: dict[str, str]) -> None:
        self.pid, self.variables = pid, variables

    def start(self, *command: object, folder: Path = Path("/")) -> subprocess.Popen:
        """A process in the machine, started in a folder, with its output in one pipe."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--ipc", "--pid", "env", f"--chdir={folder}"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHONPATH"))}
        return subprocess.Popen(
            [*enter, *map(str, command)],
            env=environment | self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: object, status: int | None = 0, seconds: float = 240.0, folder: Path = Path("/")) -> str:
        """What a command prints; with `status`, that must be its exit status."""
        process = self.start(*command, folder=folder)
        try:
            output = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{command} took more than {seconds} s: {process.communicate()[0]}") from None
        assert status is None or process.returncode == status, f"{command}: {process.returncode}\n{output}"
        return output


def why_not(*commands: str) -> str | None:
    """The reason why there can be no such machine with these commands here, if there is one."""
    if os.geteuid() != 0:
        return "namespaces need root"
    missing = [name for name in ("unshare", "nsenter", "ip", *commands) if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: openssh-server, rsync, iproute2, util-linux)"
    done = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True)
    return f"no namespaces here: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def machine(folder: Path, **variables: str) -> Iterator[Machine]:
    """A machine that lives until the end of the block, with all its processes; root's home there is `folder/home`."""
    (folder / "ray").mkdir()
    # ssh and sshd go by this file, not by HOME.
    users = Path("/etc/passwd").read_text().splitlines()
    root = f"root:x:0:0:root:{folder / 'home'}:/bin/bash"
    (folder / "passwd").write_text("\n".join([root, *(user for user in users if not user.startswith("root:"))]) + "\n")
    process = subprocess.Popen([*_UNSHARE, "bash", "-c", _INIT, "init", folder])
    try:
        while not (folder / "ready").exists():
            assert process.poll() is None, "the namespaces could not be made"
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        yield Machine(int(children), variables)
    finally:
        process.kill()
        process.wait()


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
