"""Index files that are pickles: what they hold is read, what they ask for is not."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from loftr_nb.errors import DataError
from loftr_nb.files import safe_load


class Calls:
    """Pickled as a call of ``function`` with ``args``."""

    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def op_global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def op_text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def op_stack_global(module: str, name: str) -> bytes:
    return op_text(module) + op_text(name) + b"\x93"


SYSTEM = op_global("os", "system")


def attack(name: str, marker: Path) -> bytes:
    """Bytes of a pickle that would make ``marker``, or break numpy's memory."""
    shell = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    if name == "os.system":
        return pickle.dumps({"name": Calls(os.system, shell)})
    if name == "builtins.eval":
        return pickle.dumps({"name": Calls(eval, python)})
    if name == "builtins.getattr":
        return pickle.dumps({"name": Calls(getattr, str, "join")})
    if name == "numpy.save":
        return pickle.dumps({"name": Calls(np.save, str(marker), 1)})
    if name == "numpy.load":
        return pickle.dumps({"name": Calls(np.load, str(marker))})
    if name == "copyreg._reconstructor":
        body = op_global("copyreg", "_reconstructor") + SYSTEM
        return b"\x80\x02" + body + SYSTEM + op_text(shell) + b"\x87R."
    if name == "numpy.ndarray.__subclasses__":
        asked = op_stack_global("numpy", "ndarray.__subclasses__")
        return b"\x80\x04" + asked + b")R."
    if name == "numpy.core.multiarray._reconstruct.__globals__":
        asked = op_stack_global("numpy.core.multiarray", "_reconstruct.__globals__")
        return b"\x80\x04" + asked + b"."
    if name == "INST os.system":
        return b"(" + op_text(shell) + b"ios\nsystem\n."
    if name == "OBJ os.system":
        return b"\x80\x02(" + SYSTEM + op_text(shell) + b"o."
    if name == "NEWOBJ subprocess.Popen":
        popen = op_global("subprocess", "Popen")
        return b"\x80\x02" + popen + op_text(shell) + b"\x85\x81."
    if name == "persistent id":
        return b"\x80\x02" + op_text("os.system") + b"Q."
    if name == "state of a function":  # changes how the next call works
        target = op_global("numpy.core.multiarray", "_reconstruct")
        state = b"N}" + op_text("_function") + b"N" + b"s\x86"
        return b"\x80\x02" + target + state + b"b."
    if name == "state of a class":
        return b"\x80\x02" + op_global("numpy", "ndarray") + b"}b."
    if name == "array from a call":  # object pointers of the pickle's choosing
        args = b"(K\x01\x85" + op_text("O") + b"B\x08\x00\x00\x00" + b"A" * 8 + b"t"
        return b"\x80\x03" + op_global("numpy", "ndarray") + args + b"R."
    if name == "array from a structured type":
        return forged_array("V8")
    if name == "array from a number with fields":
        return forged_array("f8")
    raise ValueError(name)


def forged_array(code: str) -> bytes:
    """An array of eight raw bytes whose type declares them to be an object."""
    dtype = op_global("numpy", "dtype")
    plain = op_text(code) + b"\x89\x88\x87R"
    number = dtype + op_text("O8") + b"\x89\x88\x87R"
    fields = b"}" + op_text("a") + number + b"K\x00\x86s"
    names = op_text("a") + b"\x85"
    state = b"(K\x03" + op_text("|") + b"N" + names + fields + b"K\x08K\x01K\x00tb"
    made = op_global("numpy.core.multiarray", "_reconstruct")
    made += op_global("numpy", "ndarray") + b"K\x00\x85B\x01\x00\x00\x00b\x87R"
    raw = b"B\x08\x00\x00\x00" + b"A" * 8
    fill = b"(K\x01K\x01\x85" + dtype + plain + state + b"\x89" + raw + b"tb"
    return b"\x80\x03" + made + fill + b"."


CALLS = (
    "os.system",
    "builtins.eval",
    "builtins.getattr",
    "numpy.save",
    "numpy.load",
    "copyreg._reconstructor",
    "numpy.ndarray.__subclasses__",
    "numpy.core.multiarray._reconstruct.__globals__",
    "INST os.system",
    "OBJ os.system",
    "NEWOBJ subprocess.Popen",
)
FORGERIES = {  # and what the message says of them
    "persistent id": "outside itself",
    "state of a function": "a function with a state",
    "state of a class": "__setstate__",
    "array from a call": "made by a call",
    "array from a structured type": "arrays of 'V8'",
    "array from a number with fields": "a structured type",
}


@pytest.mark.parametrize("name", (*CALLS, *FORGERIES))
@pytest.mark.parametrize("inside_npz", [False, True])
def test_attack_is_refused_and_runs_nothing(
    tmp_path: Path, name: str, inside_npz: bool
) -> None:
    marker = tmp_path / "marker"
    content = attack(name, marker)
    path = tmp_path / "index.npz"
    if inside_npz:
        write_npz_member(path, content)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match="index.npz") as caught:
        safe_load(path)
    asked = name.split()[-1].replace("os.system", "system")
    assert FORGERIES.get(name, asked) in str(caught.value)
    assert not marker.exists()


def write_npz_member(path: Path, content: bytes) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("name.npy", header.getvalue() + content)


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """Plain unpickling does make the marker: the refusal above is not luck."""
    for name in ("os.system", "builtins.eval", "INST os.system"):
        marker = tmp_path / "marker"
        pickle.loads(attack(name, marker))
        assert marker.exists(), name
        marker.unlink()


def test_registered_extensions_are_refused(tmp_path: Path) -> None:
    """A number that stands for a function would skip the check of names."""
    marker = tmp_path / "marker"
    program = b"\x80\x02\x82\xf1" + op_text(f"touch {marker}") + b"\x85R."
    path = tmp_path / "index.npz"
    path.write_bytes(program)
    copyreg.add_extension("os", "system", 0xF1)
    try:
        pickle.loads(program)
        assert marker.exists()
        marker.unlink()
        with pytest.raises(DataError, match=r"os\.system"):
            safe_load(path)
    finally:
        copyreg.remove_extension("os", "system", 0xF1)
    assert not marker.exists()


def test_every_truncation_of_a_pickle_is_an_error(tmp_path: Path) -> None:
    whole = pickle.dumps(
        {"image_paths": np.array(["a.jpg", None], object), "x": np.arange(5.0)}
    )
    path = tmp_path / "scene.npz"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="scene.npz"):
            safe_load(path)


def test_released_pickle_equals_plain_unpickling(shared_data: Path) -> None:
    path = shared_data / "indices" / "megadepth" / "0015_0.1_0.3.npz"
    expected = pickle.loads(path.read_bytes())  # ours to trust: released by LoFTR
    loaded = safe_load(path)
    assert loaded.keys() == expected.keys()
    assert len(loaded["pair_infos"]) == 300
    for mine, plain in zip(loaded["pair_infos"], expected["pair_infos"], strict=True):
        assert np.array_equal(mine[0], plain[0])
        assert mine[1] == plain[1]
        assert np.array_equal(mine[2], plain[2])
    for key in ("image_paths", "depth_paths"):
        assert loaded[key].tolist() == expected[key].tolist()
    for key in ("intrinsics", "poses"):
        for mine, plain in zip(loaded[key], expected[key], strict=True):
            assert (mine is None) == (plain is None)
            assert plain is None or np.array_equal(mine, plain)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "float": np.linspace(0, 1, 6).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "swapped": np.arange(3, dtype=">i4"),
        "small": np.array([1, 2], np.uint16),
        "truth": np.array([True, False]),
        "text": np.array(["a", "bcd"]),
        "bytes": np.array([b"a", b"bcd"]),
        "empty": np.zeros((0, 4)),
        "objects": np.array([None, "x", 3], object),
    }
    path = tmp_path / "index.npz"
    path.write_bytes(pickle.dumps({**arrays, "one": np.float64(0.25)}, protocol))
    loaded = safe_load(path)
    assert loaded.pop("one") == 0.25
    for key, array in arrays.items():
        native = loaded[key].dtype.newbyteorder("=")
        assert native == array.dtype.newbyteorder("="), key
        assert loaded[key].tolist() == array.tolist(), key


def test_only_the_keys_asked_for_are_read(tmp_path: Path) -> None:
    """A damaged (or huge, or forbidden) entry that nobody needs does no harm."""
    path = tmp_path / "index.npz"
    np.savez(path, name=np.arange(4))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.npy", b"no array at all")
    assert safe_load(path, ("name", "score")).keys() == {"name"}
    with pytest.raises(DataError, match=r"index.npz\[other\]"):
        safe_load(path)


def test_a_pickle_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "index.npz"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="list"):
        safe_load(path)
