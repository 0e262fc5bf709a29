from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

import pytest

from onnx_trtcal.cli.flags import add_options, add_preprocess, options_from
from onnx_trtcal.errors import OptionError
from onnx_trtcal.options import Options, Preprocess

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = {
    "--method": "mse",
    "--range": "tensorrt",
    "--observe": "all",
    "--tie-concat": None,
    "--trt-version": "8.6",
    "--zero-scales": None,
    "--parser-names": "all",
    "--provider": "cpu",
    "--batch-size": "4",
    "--max-samples": "100",
    "--memory-limit": "1.5G",
    "--threads": "3",
    "--allow-nonfinite": None,
    "--allow-quantized": None,
    "--checkpoint-every": "7",
    "--check-samples": "3",
    "--until": "t",
    "--until-stable": "1%",
    "--budget": "1.5m",
    "--steps": "7",
    "--preset": "imagenet",
    "--resize": "shorter",
    "--size": "256",
    "--crop": "224,192",
    "--interpolation": "nearest",
    "--pad-value": "114",
    "--color": "bgr",
    "--scale": "1/255",
    "--mean": "0.5,0.25,1/4",
    "--std": "2",
    "--layout": "nhwc",
}
FOR_INPUTS = ["--preset", "cam0=raw", "--size", "left/img:0=64,32", "--color", "cam0=gray"]
TOML = """
method = "mse"
method_for = ["Softmax=minmax", "x=percentile:99"]
range = "tensorrt"
observe = "all"
tie_concat = true
trt-version = "8.6"
zero_scales = true
parser_names = "all"
provider = "cpu"
batch_size = 4
max_samples = 100
memory_limit = "1.5G"
threads = 3
allow_nonfinite = true
allow_quantized = true
ort_custom_ops = ["a.so"]
item_axis = ["x=0", "state=none"]
checkpoint_every = 7
check_samples = 3
until = ["t"]
until_stable = "1%"
budget = "90s"
steps = 7

[preprocess]
preset = "imagenet"
resize = "shorter"
size = [256, 256]
crop = [224, 192]
interpolation = "nearest"
pad_value = 114
color = "bgr"
scale = "1/255"
mean = [0.5, 0.25, 0.25]
std = 2
layout = "nhwc"

[preprocess.cam0]
preset = "raw"
color = "gray"

[preprocess."left/img:0"]
size = [64, 32]
"""


def parse(*arguments: str) -> Options:
    parser = argparse.ArgumentParser()
    add_options(parser)
    add_preprocess(parser)
    return options_from(parser.parse_args(arguments))


def config(folder: Path, text: str) -> list[str]:
    path = folder / "options.toml"
    path.write_text(text)
    return ["--config", str(path)]


def test_without_flags_all_is_at_its_default() -> None:
    assert parse() == Options()


def test_a_toml_file_says_the_same_as_the_flags(tmp_path: Path) -> None:
    words = [word for flag, value in FLAGS.items() for word in (flag, value) if word]
    words += ["--method-for", "Softmax=minmax", "--method-for", "x=percentile:99", "--ort-custom-ops", "a.so"]
    words += ["--item-axis", "x=0", "--item-axis", "state=none"]
    words += FOR_INPUTS
    flags, file = parse(*words), parse(*config(tmp_path, TOML))
    assert flags == file
    # Nothing was left at its default, so no option was forgotten here.
    for options, defaults in ((flags, Options()), (flags.preprocess, Preprocess())):
        for item in dataclasses.fields(options):
            assert getattr(options, item.name) != getattr(defaults, item.name), item.name
    assert flags.budget == 90
    assert flags.until_stable == 0.01 and flags.memory_limit == 3 << 29
    assert flags.preprocess.size == (256, 256) and flags.preprocess.mean == (0.5, 0.25, 0.25)


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = config(tmp_path, 'method = "mse"\nbatch_size = 4\n[preprocess]\nscale = 1.0\nmean = [1, 2]\n')
    options = parse(*file, "--method", "minmax", "--mean", "3")
    assert options.method == "minmax" and options.batch_size == 4
    assert options.preprocess == Preprocess(scale=1.0, mean=(3.0,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("methud = 'mse'", "did you mean 'method'"),
        ("method = 3", "method is 3, wanted a string"),
        ("batch_size = true", "batch_size is True, wanted a whole number"),
        ("batch_size = 1.5", "batch_size is 1.5, wanted a whole number"),
        ("tie_concat = 1", "tie_concat is 1, wanted true or false"),
        ("memory_limit = 'much'", "'much' is not a size"),
        ("budget = 'long'", "'long' is not a time"),
        ("budget = 0", "wanted a time such as 60s or 5m"),
        ("steps = -1", "wanted 0 or more"),
        ("preprocess = 3", "must be a table"),
        ("[preprocess]\nmeen = 1", "did you mean 'mean'"),
        ("method = ", "cannot read the options file"),
        (f"batch_size = {'9' * 6000}", "a number in it has thousands of digits"),
        (f"a = {'[' * 5000}", "it is nested too deeply"),
        ("ort_custom_ops = 1", "ort_custom_ops is 1"),
        ("batch_size = 0", "batch_size is 0"),
        ("range = 'stabel'", "did you mean 'stable'"),
    ],
)
def test_a_file_that_means_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(OptionError) as refusal:
        parse(*config(tmp_path, text))
    assert said in str(refusal.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"batch_size = 4 # \xff")
    with pytest.raises(OptionError, match="not text in UTF-8, from byte 17 on"):
        parse("--config", str(tmp_path / "a.toml"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read"):
        parse("--config", str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch-size", "many"], "--batch-size"),
        (["--scale", "1/0"], "'1/0' is not a number"),
        (["--memory-limit", "2X"], "is not a size"),
        (["--provider", "tpu"], "invalid choice"),
        (["--size", "a,b"], "--size"),
    ],
)
def test_a_flag_that_means_nothing_is_misuse(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(*words)
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_a_share_is_a_number_or_a_percentage() -> None:
    assert parse("--until-stable", "1%") == parse("--until-stable", "0.01")
    with pytest.raises(OptionError, match="wanted a share"):
        parse("--until-stable", "1")


def test_a_verb_may_have_some_of_the_flags() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, "method", "threads")
    assert options_from(parser.parse_args(["--method", "mse", "--threads", "2"])) == Options(
        method="mse", threads=2
    )
    with pytest.raises(SystemExit):
        parser.parse_args(["--batch-size", "2"])


def test_every_option_has_a_help_text() -> None:
    for item in (*dataclasses.fields(Options), *dataclasses.fields(Preprocess)):
        assert item.metadata["help"]


def test_what_is_said_of_one_input_goes_over_what_is_said_of_all(tmp_path: Path) -> None:
    file = config(tmp_path, "[preprocess]\nmean = 3\n[preprocess.cam0]\nmean = 1\nstd = 2\n")
    options = parse(*file, "--mean", "cam0=5,6,7", "--size", "a=b=8", "--resize", "stretch")
    assert options.preprocess == Preprocess(
        resize="stretch",
        mean=(3.0,),
        per_input={"cam0": Preprocess(mean=(5.0, 6.0, 7.0), std=(2.0,)), "a=b": Preprocess(size=(8, 8))},
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--preset", "cam0=imagnet"],
            "argument --preset: invalid choice: 'imagnet' (choose from 'imagenet', ",
        ),
        (["--color", "cmyk"], "argument --color: invalid choice: 'cmyk'"),
        (["--mean", "cam0=x"], "argument --mean: 'x' is not a number"),
    ],
)
def test_a_value_for_an_input_is_checked(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(*words)
    assert said in capsys.readouterr().err


def test_a_table_of_an_input_is_checked(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'meen' is not an option") as caught:
        parse(*config(tmp_path, "[preprocess.cam0]\nmeen = 1\n"))
    assert caught.value.where.endswith("[preprocess.cam0]") and "did you mean 'mean'?" in caught.value.fix


def options_in(folder: Path, text: str) -> Options:
    path = folder / "some.toml"
    path.write_text(text, encoding="utf-8")
    return parse("--config", str(path))


def test_a_toml_file_may_give_one_value_of_a_repeatable_flag_without_brackets(tmp_path: Path) -> None:
    options = options_in(tmp_path, 'item-axis = 1\nuntil = "tensor"\nmethod-for = ["x=mse"]\n')

    assert (options.item_axis, options.until, options.method_for) == (("1",), ("tensor",), ("x=mse",))


@pytest.mark.parametrize("value", ["true", "1.5", "[[1]]", "{ x = 0 }"])
def test_a_repeatable_flag_in_toml_is_a_list_of_strings(tmp_path: Path, value: str) -> None:
    with pytest.raises(OptionError, match=r"item_axis is .*\n.*some.toml\n.*list of strings"):
        options_in(tmp_path, f"item_axis = {value}\n")


def test_one_number_is_both_sides_of_a_size_in_toml_as_in_the_flag(tmp_path: Path) -> None:
    said = options_in(tmp_path, "[preprocess]\nsize = 256\ncrop = 224\n")

    assert said == parse("--size", "256", "--crop", "224")


def test_an_empty_name_of_an_input_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--preset", "=raw")

    assert "'=raw' names no input" in capsys.readouterr().err
