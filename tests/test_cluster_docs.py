"""The documents of the cluster: the programs and files in them are run, or held against what reads them."""

import ast
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from retape.cluster import TrainConfig, train
from retape.cluster.ray_train import train_loop

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")

# The fields of KubeRay's ray.io/v1: of a RayJob's spec, of a cluster's, of the head and of a group of workers.
JOB_FIELDS = {
    "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint", "entrypointNumCpus",
    "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML",
    "shutdownAfterJobFinishes", "submissionMode", "submitterConfig", "submitterPodTemplate", "suspend",
    "ttlSecondsAfterFinished",
}  # fmt: skip
CLUSTER_FIELDS = {
    "autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "headServiceAnnotations", "rayVersion", "suspend",
    "workerGroupSpecs",
}  # fmt: skip
HEAD_FIELDS = {"enableIngress", "headService", "rayStartParams", "serviceType", "template"}
WORKER_FIELDS = {
    "groupName", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas", "scaleStrategy", "template",
}  # fmt: skip
POD_FIELDS = {"containers", "terminationGracePeriodSeconds", "volumes"}


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_programs_own_model_in_the_readme_trains_as_it_stands(tmp_path):
    [program] = [block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python") if "train(" in block]
    (tmp_path / "own.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-P", "own.py"], cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    status, step, val_loss = done.stdout.split()
    assert (status, step) == ("finished", "300")
    assert float(val_loss) < 0.03  # the targets' variance is 0.16
    result = json.loads((tmp_path / "runs" / "own" / "result.json").read_text())
    assert result["peak_bytes"] <= result["projected_bytes"] <= result["budget_bytes"] == 256 * 1024


def test_the_rayjob_has_the_fields_that_kuberay_knows():
    yaml = pytest.importorskip("yaml")
    [job] = [found for block in blocks(GUIDE, "yaml") if (found := yaml.safe_load(block)).get("kind") == "RayJob"]
    assert job["apiVersion"] == "ray.io/v1" and job["metadata"]["name"]
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert spec.keys() <= JOB_FIELDS and cluster.keys() <= CLUSTER_FIELDS
    assert {"headGroupSpec", "rayVersion", "workerGroupSpecs"} <= cluster.keys()
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode")
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head.keys() <= HEAD_FIELDS and all(group.keys() <= WORKER_FIELDS for group in workers)
    for group in (head, *workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        assert pod.keys() <= POD_FIELDS
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert all(mount["name"] in volumes for each in pod["containers"] for mount in each["volumeMounts"])


def test_the_block_for_aws_and_the_template_make_a_file_that_ray_accepts():
    yaml = pytest.importorskip("yaml")
    util = pytest.importorskip("ray.autoscaler._private.util")
    [block] = [found for each in blocks(GUIDE, "yaml") if "provider" in (found := yaml.safe_load(each))]
    config = yaml.safe_load((ROOT / "cluster" / "cluster.yaml").read_text(encoding="utf-8")) | block
    util.validate_config(util.prepare_config(config))


def test_the_flags_in_the_guide_are_flags(capsys):
    from retape.cluster.command import main

    with pytest.raises(SystemExit):
        main(["--help"])
    known = capsys.readouterr().out
    train_lines = [line for line in GUIDE.splitlines() if re.search(r"(train\.py|retape-train)( --| [\w/.]+ --|$)", line)]
    flags = {flag for line in train_lines for flag in re.findall(r"(?<=\s)--[a-z][a-z-]+", line.split("train", 1)[1])}
    assert {"--resume", "--workers", "--out", "--config", "--show-config"} <= flags
    assert [flag for flag in flags - {"--json", "--watch", "--working-dir"} if flag not in known] == []


def test_what_the_guides_import_is_there_and_what_they_call_takes_their_arguments():
    guides = GUIDE + (ROOT / "docs" / "snapshots.md").read_text(encoding="utf-8")
    known = {"train": {*signature(train).parameters, *signature(TrainConfig).parameters}}
    known["train_loop"] = {*signature(train_loop).parameters, *signature(TrainConfig).parameters}
    called = []
    for node in (node for block in blocks(guides, "python") for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("retape"):
            assert [name.name for name in node.names if not hasattr(import_module(node.module), name.name)] == []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            called.append(node.func.id)
            assert [word.arg for word in node.keywords if word.arg not in known[node.func.id]] == []
    assert sorted(called) == ["train", "train_loop"]
