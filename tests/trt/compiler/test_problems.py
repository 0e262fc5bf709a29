"""Messages of the parser, the builder and a crash, in plainer words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnx_trtcal.trt.compiler.build import Build, Message, ParserError
from onnx_trtcal.trt.compiler.problems import Problem, find_problems

NO_GPU = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient))"
)


def build(
    *messages: tuple[str, str],
    errors: tuple[ParserError, ...] = (),
    parsed: bool = True,
    crash: str = "",
    missing: tuple[str, ...] = (),
    engine: int | None = None,
) -> Build:
    log = tuple(Message(*each) for each in messages)
    return Build("1.7.1", parsed, errors, missing, engine, 0.0, log, crash)


def refused(text: str, op: str = "DequantizeLinear", code: str = "INVALID_NODE") -> Problem:
    error = ParserError(code, text, "n_1", op, 4, "parseNode")
    (problem,) = find_problems(build(errors=(error,), parsed=False))
    assert (problem.stage, problem.node, problem.op) == ("parser", "n_1", op)
    return problem


def test_an_engine_has_no_problems_whatever_was_logged() -> None:
    assert find_problems(build(("ERROR", "some tactic failed"), engine=10)) == ()


@pytest.mark.parametrize(
    ("text", "rule", "what"),
    [
        (
            (
                "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported. Please set "
                "kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA to enable it."
            ),
            "zero-point",
            "Non-zero zero point is not supported. Please set",
        ),
        (
            "Assertion failed: (scaleAllPositive || allowNegativeScale): Scale coefficients must all be positive",
            "scale-value",
            "Scale coefficients must all be positive",
        ),
        (
            (
                "Assertion failed: K == scaleSize: The number of scales is not equal to the number of output channels. "
                "Number of output channels = 32, number of scales = 16."
            ),
            "scale-count",
            "The number of scales is not equal",
        ),
        (
            (
                "Invalid Node - wdq\nITensor::getDimensions: Error Code 4: API Usage Error (The blocking dimension "
                "must be the last or second to last dimension In validateQuantizationHelper at /_src/api.cpp:444)"
                f"\n{NO_GPU}"
            ),
            "blocked-scale-axis",
            "The blocking dimension must be the last or second to last dimension",
        ),
        (
            (
                "Invalid Node - bdq\nITensor::getDimensions: Error Code 4: API Usage Error (bdq: input has type Int32 "
                f"but must have type FP8, FP4, Int4, Int8, or UInt8. In checkType at /_src/nodeBase.cpp:456)\n{NO_GPU}"
            ),
            "quantized-type",
            "bdq: input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8.",
        ),
        (
            "Assertion failed: status.is_success(): Found unsupported input type of UINT8",
            "type",
            "Found unsupported input type of UINT8",
        ),
        (
            'creator && "Plugin not found, are the plugin name, version, and namespace correct?"',
            "operator",
            "Plugin not found, are the plugin name, version, and namespace correct?",
        ),
        (
            "NonZero plugin creator version 1 was not found in plugin registry.",
            "operator",
            "NonZero plugin creator version 1 was not found",
        ),
        (
            '(antialias == 0) && "Antialiasing is not supported currently."',
            "unsupported",
            "Antialiasing is not supported currently.",
        ),
    ],
)
def test_what_the_parser_refuses(text: str, rule: str, what: str) -> None:
    problem = refused(text)
    assert problem.rule == rule and problem.what.startswith(what) and problem.fix
    assert "Cuda" not in problem.what and "_src" not in problem.what


def test_an_op_that_a_checker_turns_down_without_a_word() -> None:
    problem = refused("false", op="QLinearConv", code="UNSUPPORTED_NODE")
    assert (problem.rule, problem.what) == ("operator", "QLinearConv is not supported")
    assert "Q/DQ pairs" in problem.fix
    assert "replace it by others" in refused("false", op="Foo").fix


def test_an_unknown_message_keeps_its_words_and_code() -> None:
    problem = refused("Assertion failed: a::b(c): the moon is full", code="INVALID_VALUE")
    assert (problem.rule, problem.what) == ("invalid_value", "the moon is full")


def test_a_node_without_a_name_goes_by_position_and_repetition_is_left_out() -> None:
    error = ParserError("INVALID_NODE", "nothing", "", "Conv", 3, "parseNode")
    whole = ParserError("INVALID_GRAPH", "Failed to import initializer: z", "", "", -1, "importInitializers")
    problems = find_problems(build(errors=(error, error, whole), parsed=False))
    assert [problem.node for problem in problems] == ["number 3", ""]
    assert problems[1].rule == "type"


def test_what_the_builder_refuses() -> None:
    text = (
        "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (Quantized constant (cq) is only allowed "
        "before DQ or PLUGIN_V2 or kPLUGIN_V3 node. In validateGraph at /_src/optimizer/graph.cpp:10)"
    )
    (problem,) = find_problems(build(("VERBOSE", "x"), ("ERROR", text), ("ERROR", NO_GPU)))
    assert (problem.stage, problem.node, problem.rule) == ("builder", "cq", "quantized-constant")
    assert "shape [1]" in problem.fix
    text = (
        "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:1500: run_passes] Cannot compile for "
        "target(s) sm86, because the model contains HW-specific datatypes: fp8_e4m3. In compileGraph at /_src/c.cpp:20)"
    )
    (problem,) = find_problems(build(("ERROR", text)))
    assert (problem.stage, problem.rule) == ("builder", "gpu-type") and "--gpu" in problem.fix
    assert problem.what.startswith("Cannot compile for target(s) sm86, because")


def test_an_internal_error_is_called_one() -> None:
    text = (
        "[graphScope.cpp::analyze::471] Error Code 2: Internal Error (Assertion tScope.getType() != "
        "ScopeType::kUNDEFINED failed.  In analyze at /_src/optimizer/common/graphScope.cpp:471)"
    )
    (problem,) = find_problems(build(("INTERNAL_ERROR", text)))
    assert problem.stage == "internal" and "report it to NVIDIA" in problem.fix
    assert problem.what == "Assertion tScope.getType() != ScopeType::kUNDEFINED failed."
    (problem,) = find_problems(build(("VERBOSE", "nothing to say")))
    assert problem.stage == "internal" and "no message" in problem.what


def test_a_crash_names_the_node_that_the_parser_was_at() -> None:
    log = [("VERBOSE", "Parsing node: n_1 [Relu]"), ("VERBOSE", "Parsing node: odd [name] [Conv]")]
    (problem,) = find_problems(build(*log, crash="it ended with SIGSEGV", parsed=False))
    assert (problem.stage, problem.rule, problem.node) == ("internal", "crash", "odd [name]")
    assert problem.what == "the compiler did not finish: it ended with SIGSEGV"
    log += [("VERBOSE", "Graph construction completed in 0.1 seconds."), ("ERROR", "Error Code 2: bad (sad)")]
    (problem,) = find_problems(build(*log, crash="it ended with SIGABRT", parsed=False))
    assert problem.node == "" and problem.what.endswith("its last error was: sad")


def test_a_compiler_that_was_stopped_is_not_at_fault() -> None:
    crash = replace(
        build(crash="it was still at work after 2 s and was stopped", parsed=False), timed_out=True
    )
    (problem,) = find_problems(crash)
    assert (problem.stage, problem.rule, problem.node) == ("stopped", "timeout", "")
    assert "--timeout" in problem.fix and "fault" not in problem.fix


def test_missing_shapes() -> None:
    (problem,) = find_problems(build(missing=("size",)))
    assert (problem.stage, problem.node) == ("inputs", "size") and "--shapes size:" in problem.fix
