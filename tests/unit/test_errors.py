"""The first useful line of what other libraries raise, and all of it."""

import pytest

from frown.errors import FrownError, first_line, whole

ADVICE = "\nCUDA kernel errors might be asynchronously reported.\nFor debugging consider CUDA_LAUNCH_BLOCKING=1\n"
REMOTE = (
    "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    '  File "worker.py", line 1, in loop\n    data = fetch(index)\nRuntimeError: bad row 3\n'
)
ORIGINAL = (
    "Could not load model x with any of the following classes: (<class 'A'>,). See the original errors:\n\n"
    "while loading with A, an error is thrown:\nTraceback (most recent call last):\n"
    '  File "base.py", line 1, in infer\n    model = load()\nOSError: x has no file model.safetensors\n\n'
)
PYDANTIC = (
    "2 validation errors for Config\nlayers\n  Input should be a valid integer [type=int_type, input_value='a']\n"
    "    For further information visit https://errors.pydantic.dev\nheads\n  Field required"
)
HUB = (
    "404 Client Error. (Request ID: Root=1-2;3)\n\nRepository Not Found for url: https://huggingface.co/api/models/x.\n"
    "Please make sure you specified the correct `repo_id` and `repo_type`."
)
STATE = (
    "Error(s) in loading state_dict for LlamaForCausalLM:\n\tsize mismatch for lm_head.weight: copying a param with "
    "shape torch.Size([8, 4]).\n\tsize mismatch for other: ..."
)
TOKENIZER = (
    "Couldn't instantiate the backend tokenizer from one of: \n(1) a `tokenizers` library serialization file, \n"
    "(2) a slow tokenizer.\nYou need to have sentencepiece installed."
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one line"), "one line"),
        (ValueError("\n\n  first\nsecond"), "first"),
        (ValueError(""), "ValueError"),
        (ValueError("\n---\n"), "ValueError"),
        (KeyError("model_type"), "no 'model_type'"),
        (KeyError(), "no such key"),
        (RuntimeError("CUDA error: out of memory" + ADVICE), "CUDA error: out of memory"),
        (RuntimeError("=====\n  the reason\n====="), "the reason"),
        (RuntimeError(REMOTE), "RuntimeError: bad row 3"),
        (ValueError(ORIGINAL), "OSError: x has no file model.safetensors"),
        (ValueError(PYDANTIC), "layers: Input should be a valid integer [type=int_type, input_value='a']"),
        (OSError(HUB), "Repository Not Found for url: https://huggingface.co/api/models/x."),
        (OSError("404 Client Error: Not Found for url: https://x"), "404 Client Error: Not Found for url: https://x"),
        (
            RuntimeError(STATE),
            "Error(s) in loading state_dict for LlamaForCausalLM: size mismatch for lm_head.weight: copying a param "
            "with shape torch.Size([8, 4]).",
        ),
        (
            ValueError(TOKENIZER),
            "Couldn't instantiate the backend tokenizer from one of: (1) a `tokenizers` library serialization file, "
            "(2) a slow tokenizer.",
        ),
        (
            RuntimeError("Failed to import x because of the following error (look up):\nNo module y"),
            "Failed to import x because of the following error (look up): No module y",
        ),
        (RuntimeError("backend='inductor' raised:\nCppError: no compiler\n\nSet TORCH_LOGS"),
         "backend='inductor' raised: CppError: no compiler"),
        (ExceptionGroup("unhandled errors in a TaskGroup (1 sub-exception)", [OSError("refused")]), "refused"),
        (FrownError("ours: as it is"), "ours: as it is"),
        (RuntimeError("a heading and nothing else:"), "a heading and nothing else:"),
    ],
)  # fmt: skip
def test_the_first_useful_line(error, line):
    assert first_line(error) == line


def raised(make):
    with pytest.raises(Exception) as caught:
        make()
    return caught.value


def test_an_error_that_says_nothing_is_told_by_its_cause():
    def generation():
        try:
            raise OSError("Failed to open x.parquet")
        except OSError as error:
            raise RuntimeError("An error occurred while generating the dataset") from error

    def empty():
        try:
            raise OSError("header too large")
        except OSError:
            raise AssertionError from None

    assert first_line(raised(generation)) == "Failed to open x.parquet"
    assert first_line(raised(empty)) == "AssertionError"
    assert first_line(RuntimeError("An error occurred")) == "An error occurred"


def test_everything_is_in_the_whole():
    """Also what `from None` hides."""

    def fail():
        try:
            raise RuntimeError(STATE)
        except RuntimeError as error:
            raise FrownError(f"cannot load: {first_line(error)}") from None

    text = whole(raised(fail))
    assert "size mismatch for other" in text and text.index("RuntimeError") < text.index("FrownError")
