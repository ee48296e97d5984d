"""Files appear whole or not at all, and what is no regular file is written into."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from frown.errors import FrownError
from frown.store.files import check_target, is_regular, is_stdout, write_text, write_whole

TO_STDOUT = "from pathlib import Path; from frown.store.files import write_text; print('before'); "
TO_STDOUT += "write_text(Path({name!r}), 'text\\n'); print('behind')"


def test_a_regular_file_is_replaced_whole_and_keeps_its_mode(tmp_path):
    file = tmp_path / "out.txt"
    file.write_text("old")
    file.chmod(0o640)
    before = file.stat().st_ino
    write_text(file, "new")
    assert file.read_text() == "new" and stat.S_IMODE(file.stat().st_mode) == 0o640 and file.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_mode_of_every_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "out", "x")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_as_long_as_a_name_can_be(tmp_path):
    file = tmp_path / ("é" * 127)
    write_text(file, "x")
    assert list(tmp_path.iterdir()) == [file]


def test_where_writing_fails_the_old_file_stays(tmp_path):
    file = tmp_path / "out.txt"
    file.write_text("old")

    def fail(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(FrownError, match=r"cannot write .*out\.txt: No space left on device"):
        write_whole(file, fail)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_what_a_link_names_is_written(tmp_path, there, relative):
    target = tmp_path / "far" / "target"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    (tmp_path / "link").symlink_to("far/target" if relative else target)
    (tmp_path / "again").symlink_to("link")
    check_target(tmp_path / "again")
    write_text(tmp_path / "again", "new")
    assert target.read_text() == "new" and (tmp_path / "link").is_symlink() and (tmp_path / "again").is_symlink()


def test_a_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for name in (pipe, tmp_path / "link"):
        texts: list[str] = []
        reader = threading.Thread(target=lambda kept=texts: kept.append(pipe.read_text()))
        reader.start()
        check_target(name)
        write_text(name, "x" * 100_000)
        reader.join()
        assert texts == ["x" * 100_000] and stat.S_ISFIFO(pipe.stat().st_mode) and not is_regular(name)


def test_devices_stay_devices():

    write_text(Path(os.devnull), "x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    with pytest.raises(FrownError, match="cannot write /dev/full: No space left on device"):
        write_text(Path("/dev/full"), "x")


def run(code, **options):
    return subprocess.run([sys.executable, "-c", code], text=True, check=True, timeout=60, **options)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "LINK"])
def test_standard_output_is_written_where_it_stands(tmp_path, name):
    """Through a pipe, and into a file that a shell opened, what was printed before and behind is kept."""
    if name == "LINK":
        (tmp_path / "link").symlink_to("/dev/stdout")
        name = str(tmp_path / "link")
    code = TO_STDOUT.format(name=name)
    assert run(code, capture_output=True).stdout == "before\ntext\nbehind\n"
    with (tmp_path / "file").open("w") as file:
        file.write("first\n")
        file.flush()
        run(code, stdout=file)
    assert (tmp_path / "file").read_text() == "first\nbefore\ntext\nbehind\n"


def test_another_descriptor_is_written_into():
    """As `>(command)` in a shell."""

    reading, writing = os.pipe()
    write_text(Path(f"/dev/fd/{writing}"), "text")
    os.close(writing)
    with os.fdopen(reading) as file:
        assert file.read() == "text"
    with pytest.raises(FrownError, match=f"cannot write /dev/fd/{writing}: Bad file descriptor"):
        write_text(Path(f"/dev/fd/{writing}"), "text")


def test_names_of_standard_output(tmp_path):

    assert is_stdout(Path("/dev/stdout")) and is_stdout(Path("/dev/fd/1")) and is_stdout(Path("/dev/../dev/stdout"))
    assert not is_stdout(Path("/dev/stderr")) and not is_stdout(tmp_path / "stdout") and is_regular(tmp_path / "new")


def test_places_that_cannot_be_written_are_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    for place, why in [
        (tmp_path, "is a folder|Is a directory"),
        (tmp_path / "absent" / "x", "does not exist|No such file"),
        (tmp_path / "file" / "x", "does not exist|Not a directory"),
        (tmp_path / "loop", "symbolic links|does not exist"),
        (tmp_path / ("n" * 300), "too long"),
    ]:
        for attempt in (check_target, lambda path: write_text(path, "x")):
            with pytest.raises(FrownError, match=why) as caught:
                attempt(place)
            assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "x" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="everything may be written by this user")
def test_a_protected_file_is_not_replaced(tmp_path):
    file = tmp_path / "out"
    file.write_text("old")
    file.chmod(0o444)
    with pytest.raises(FrownError, match="write-protected|Permission denied"):
        check_target(file)
    with pytest.raises(FrownError, match="write-protected|Permission denied"):
        write_text(file, "new")


def test_what_is_being_read_is_not_written_over(tmp_path):
    file = tmp_path / "data"
    file.write_text("x")
    (tmp_path / "link").symlink_to(file)
    os.link(file, tmp_path / "hard")
    for out in (file, tmp_path / "link", tmp_path / "hard", tmp_path / "." / "data"):
        with pytest.raises(FrownError, match="is the file being read"):
            check_target(out, file)
