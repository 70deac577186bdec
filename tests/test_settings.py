"""The training script's settings: flags over a file over defaults, and what is refused."""

import re
import tomllib

import pytest

from retape.cluster.errors import ConfigError
from retape.cluster.job import TrainConfig
from retape.cluster.options import parse_options, settings_text


def options(tmp_path, text, *flags):
    (tmp_path / "run.toml").write_text(text)
    return parse_options([*flags, "--config", str(tmp_path / "run.toml")])


def test_flags_go_over_the_file_and_the_file_over_the_models_defaults(tmp_path):
    chosen = options(tmp_path, 'model = "digits"\nsteps = 7\nglobal-batch = 40\nresume = "auto"\n', "--steps", "9")
    assert (chosen.model, chosen.steps, chosen.global_batch, chosen.resume) == ("digits", 9, 40, "auto")
    assert (chosen.layers, chosen.memory_budget, chosen.out) == (3, "80%", "runs/digits")


def test_a_true_in_the_file_can_be_taken_back_by_a_flag(tmp_path):
    assert options(tmp_path, "oversubscribe = true\n").oversubscribe is True
    assert options(tmp_path, "oversubscribe = true\n", "--no-oversubscribe").oversubscribe is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepps = 3\n", "there is no setting 'stepps': did you mean steps?"),
        ("global_bach = 3\n", "did you mean global_batch?"),
        ("zzz = 3\n", "the known ones are address, ahead"),
        ('show_config = "yes"\n', "no setting 'show_config'"),
        ("steps = 0\n", "run.toml: steps: '0' is not a whole number of 1 or more"),
        ('model = "gpt"\n', "run.toml: model: invalid choice: 'gpt'"),
        ("[training]\nsteps = 3\n", "no setting 'training'"),
        ("steps = [3]\n", "steps is a list; it must be a number, a text or true/false"),
        ("steps = \n", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_nearest_cure(tmp_path, text, said):
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        options(tmp_path, text)
    assert "run.toml" in str(caught.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no/such.toml cannot be read: No such file"):
        parse_options(["--config", "no/such.toml"])


def test_an_abbreviated_flag_is_refused_for_a_later_flag_could_take_its_place(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_options(["--step", "3"])
    assert caught.value.code == 2 and "--step" in capsys.readouterr().err


def test_a_setting_that_the_model_does_not_have_is_refused_with_the_models_that_have_it(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_options(["--model", "cbow", "--heads", "8"])
    assert caught.value.code == 2
    assert "argument --heads: cbow has no such setting, it is for transformer" in capsys.readouterr().err
    assert parse_options(["--model", "cbow"]).heads is None


def test_the_settings_that_are_shown_are_a_file_that_gives_the_same_settings(tmp_path):
    flags = ["--model", "digits", "--seed", "0", "--clip", "none", "--out", 'a "b"\\ü\x7f', "--oversubscribe", "--resume"]
    chosen = parse_options([*flags, "--best", "lowest val_loss", "--shards", "6", "--memory-budget", "64MiB"])
    text = settings_text(chosen)
    assert tomllib.loads(text)["seed"] == 0 and "show_config" not in text
    again = vars(options(tmp_path, text))
    assert {**again, "config": None} == vars(chosen)


def test_every_setting_of_a_run_has_a_flag_in_the_help(capsys):
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    shown = capsys.readouterr().out
    renamed = {"clip_norm": "clip", "deadline_seconds": "deadline", "silence_seconds": "silence", "ahead_bytes": "ahead"}
    # What an example counts for is the model's.
    for name in TrainConfig.__dataclass_fields__.keys() - {"units"} | {"spares", "resume", "address", "out", "threads"}:
        assert re.search(rf"--{renamed.get(name, name).replace('_', '-')}[ ,]", shown), name
    assert all(word in shown for word in ("faults:", "files and resuming:", "exit status:", "143", "status [FOLDER]"))
