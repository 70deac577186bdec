"""What of a run can be seen: phases and stragglers, the report on one page, event files, and Ray's metrics."""

import base64
import json
import re
import struct
import time
import urllib.request

import numpy as np
import pytest

from retape.cluster import ConfigError, sgd, train
from retape.cluster.command import main
from retape.cluster.exports import EXPORTS, EventFiles, exported
from retape.cluster.phases import by_rank, mean_phases, phases, usual
from retape.cluster.progress import ProgressLine
from retape.cluster.report import write_report


def step(number, ranks=(0.5, 0.7), *, slow=1.0, **more):
    own = ranks[0] * slow
    return {
        "step": number,
        "loss": 1.0 / number,
        "step_seconds": (max(ranks) + 0.2) * slow,
        "gradient_seconds": own,
        "reduce_seconds": (max(ranks) - ranks[0] + 0.15) * slow,
        "data_seconds": 0.1 * slow,
        "seconds_by_rank": [seconds * slow for seconds in ranks],
        "budget_bytes": 2**21,
        "projected_bytes": 2**20,
        "peak_bytes": 2**20 - number,
        **more,
    }


@pytest.mark.parametrize("ranks", [(0.5,), (0.5, 0.7), (0.7, 0.5), (0.3, 0.9, 0.6)])
def test_the_phases_of_a_step_are_the_whole_step(ranks):
    found = phases(step(1, ranks))
    assert sum(vars(found).values()) == pytest.approx(max(ranks) + 0.2)
    assert found.data == 0.1 and found.reduce == pytest.approx(0.15) and found.update == pytest.approx(0.05)
    assert found.wait == pytest.approx(max(ranks) - np.mean(ranks))


def test_who_is_waited_for_is_told_without_the_steps_that_made_a_plan():
    rows = [step(1, (90.0, 0.1)), *[step(n, (0.5, 0.7)) for n in (2, 3, 4)], step(5, (0.9, 0.7)), {"step": 5, "warning": "x"}]
    assert [row["step"] for row in usual(rows)] == [2, 3, 4, 5]
    first, second = by_rank(rows)
    assert (first.slowest_share, second.slowest_share) == (0.25, 0.75)
    assert first.gradient_seconds == pytest.approx(0.6) and first.wait_seconds == pytest.approx(0.15)
    assert second.wait_seconds == pytest.approx(0.05)
    assert by_rank([*rows, step(6, (0.5,))])[0].gradient_seconds == 0.5  # the others have left
    assert mean_phases(rows).reduce == pytest.approx(0.15)


def folder_of(path, rows, **result):
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if result:
        (path / "result.json").write_text(json.dumps(result))
    return path


def images(page):
    found = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert all(image.startswith(b"\x89PNG\r\n") for image in found)
    return len(found)


def test_a_report_is_one_page_with_its_pictures_figures_and_warnings(tmp_path, capsys):
    rows = [step(n) for n in range(1, 2000)]
    rows += [
        {"step": 1999, "val_loss": 0.5, "val_accuracy": 0.75, "examples": 10},
        {"step": 7, "warning": "<full> & failing"},
    ]
    folder_of(tmp_path, rows, status="stopped early", peak_bytes=2**20, error=None, validation={"val_loss": 0.5})
    assert main(["report", str(tmp_path)]) == 0
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert images(page) == 5 and "stopped early after step" in page
    assert "1.00 MiB (1048576 bytes)" in page or "1.0 MiB (1048576 bytes)" in page
    assert "&lt;full&gt; &amp; failing" in page and "<full>" not in page
    assert page.count("<td>gradients</td>") == 1 and "val_loss 0.5" in page
    assert len(page) < 10**6 and not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.parametrize(
    "rows",
    [
        [step(1)],
        [step(1, peak_bytes=None, projected_bytes=None, budget_bytes=None)],
        [{"step": 0, "warning": "nothing was done"}],
        [step(n, (0.1,), loss=float("nan")) for n in (1, 2, 3)],
    ],
)
def test_a_run_of_few_rows_has_a_report_too(tmp_path, rows):
    assert images(write_report(folder_of(tmp_path, rows)).read_text()) == 4


def test_a_folder_without_a_run_has_no_report(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "there is no run in" in capsys.readouterr().err


def test_plain_progress_says_where_the_time_goes(capsys):
    with ProgressLine(steps=9, unit="images", goal="val_loss") as progress:
        progress.row(step(1))
    assert "gradients" in capsys.readouterr().out


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(1)])
def test_progress_goes_on_where_its_lines_cannot_be_written(monkeypatch, error):
    def refuse(*values, **named):
        raise error

    with ProgressLine(steps=8, unit="examples", goal="val_loss") as progress:
        monkeypatch.setattr(progress._console, "print", refuse)
        progress.say("a spare was lost")


def test_the_live_table_has_a_line_for_each_worker(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressLine(steps=9, unit="images", goal="val_loss") as progress:
        for number in (1, 2, 3):
            progress.row(step(number))
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    assert "step 3/9" in shown and re.search(r"1 +700.0 ms +0.0 ms +100%", shown)
    assert re.search(r"0 +500.0 ms +200.0 ms +0%", shown)


def scalars(folder):
    """The scalars of event files by name and step, by the format of TensorBoard's records."""
    event = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for file in sorted(folder.iterdir()):
        content, at = file.read_bytes(), 0
        while at < len(content):
            [length] = struct.unpack_from("<Q", content, at)
            record = event.Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            found |= {(value.tag, record.step): value.simple_value for value in record.summary.value}
    return found


def test_event_files_hold_every_number_of_the_rows(tmp_path):
    pytest.importorskip("tensorboardX")
    files = EventFiles(tmp_path, step=0)
    for row in (step(1), step(2), {"step": 2, "val_loss": 0.25, "examples": 10}, {"step": 2, "warning": "a full disk"}):
        files.row(row)
    files.close()
    found = scalars(tmp_path)
    assert found["training/loss", 1] == 1.0 and found["training/loss", 2] == 0.5
    assert found["validation/val_loss", 2] == 0.25 and found["memory/peak_bytes", 2] == 2**20 - 2
    assert found["gradient_seconds_by_rank/1", 1] == pytest.approx(0.7)
    assert ("warning/text_summary", 2) in found or any(name.startswith("warning") for name, _ in found)


def test_training_goes_on_without_an_export_that_fails(tmp_path, monkeypatch):
    class Failing:
        def __init__(self):
            self.rows = 0

        def row(self, row):
            self.rows += 1
            if self.rows == 2:
                raise OSError("no space left")

        def close(self):
            raise AssertionError("it is given up")

    failing, said = Failing(), []
    monkeypatch.setitem(EXPORTS, "failing", lambda out, first: failing)
    with exported(["failing"], tmp_path, step=0, say=said.append) as take:
        for number in (1, 2, 3):
            take(step(number))
    assert failing.rows == 2 and said == ["no more metrics go to failing: OSError: no space left; training goes on"]


def test_an_export_that_is_not_known_or_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    for names, text in ((["tensorbord"], "tensorbord.*tensorboard, prometheus"), (["tensorboard"], r"retape\[tensorboard\]")):
        with pytest.raises(ConfigError, match=text), exported(names, tmp_path, step=0, say=print):
            pass


def prometheus(ray):
    node = ray.nodes()[0]
    with urllib.request.urlopen(
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=5
    ) as page:
        return page.read().decode()


def test_a_run_shows_its_metrics_in_event_files_and_at_rays_prometheus_port(ray, tmp_path):
    pytest.importorskip("tensorboardX")
    x = np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)
    result = train(
        loss=lambda params, batch: np.mean((batch @ params["w"] - 1.0) ** 2),
        init=lambda seed: {"w": np.zeros(3, np.float32)},
        data=x,
        optimizer=sgd(),
        steps=4,
        global_batch=8,
        workers=1,
        out=tmp_path / "a-run",
        metrics_to=["tensorboard", "prometheus"],
    )
    found = scalars(tmp_path / "a-run" / "tensorboard")
    losses = {row["step"]: row["loss"] for row in result.rows if "loss" in row}
    assert len(losses) == 4
    assert {at: value for (name, at), value in found.items() if name == "training/loss"} == pytest.approx(losses, rel=1e-6)
    deadline, page = time.monotonic() + 60, ""
    while "ray_retape_loss{" not in page and time.monotonic() < deadline:
        time.sleep(0.5)
        page = prometheus(ray)
    lines = [line for line in page.splitlines() if 'run="a-run"' in line]
    [shown] = [float(line.rpartition(" ")[2]) for line in lines if line.startswith("ray_retape_loss{")]
    assert shown == pytest.approx(losses[4]) and any('phase="reduce"' in line for line in lines)
    assert any(line.startswith("ray_retape_steps_total{") and line.endswith(" 4.0") for line in lines)
