"""One Ray for all tests that want one, and which tests may run side by side."""

import os
import warnings
from collections import Counter

import pytest

# What starts processes, shared memory and ports of the machine, and looks whether all are gone.
ONE_AFTER_ANOTHER = {
    "test_bad_settings",
    "test_cluster_data",
    "test_cluster_docs",
    "test_cluster_models",
    "test_cluster_run",
    "test_comm",
    "test_crew",
    "test_data_files",
    "test_early_stopping",
    "test_ending",
    "test_faults",
    "test_feed",
    "test_host",
    "test_jobs",
    "test_nodes",
    "test_overlap",
    "test_own_code",
    "test_partition",
    "test_ray_backend",
    "test_ray_train",
    "test_report",
    "test_sharding",
    "test_snapshot_parts",
    "test_status",
    "test_submit",
    "test_supervisor",
    "test_tables",
    "test_vigil",
    "test_worker",
}
TOGETHER = 100  # tests of a file that go to one process of pytest-xdist at a time


def pytest_collection_modifyitems(items):
    seen = Counter()
    for item in items:
        name = item.path.stem
        alone = name in ONE_AFTER_ANOTHER or "ray" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("machine" if alone else f"{name} {seen[name] // TOGETHER}"))
        seen[name] += 1


@pytest.fixture(scope="session")
def ray():
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    ray = pytest.importorskip("ray")
    from retape.cluster.engine import start

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start(
            ray,
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=100 * 2**20,
        )
        yield ray
        ray.shutdown()
