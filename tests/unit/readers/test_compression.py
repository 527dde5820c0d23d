"""Compressed text: read as if it were not, never cut, and named where it cannot be read."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from treering.errors import UserError
from treering.readers import compression, lines
from treering.readers.batch import Reader, Span
from treering.readers.csv import CsvReader
from treering.readers.libsvm import LibsvmReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unit.readers.conftest import ReadAll, Write


class _Noting(compression.Text):
    """A text that notes how many bytes are asked for."""

    def __init__(self, text: compression.Text, asked: list[int]) -> None:
        self.__dict__ |= text.__dict__
        self._asked = asked

    def read(self, size: int) -> bytes:
        self._asked.append(size)
        return super().read(size)


_SKIPPED_FRAME = (
    b"\x50\x2a\x4d\x18\x04\0\0\0abcd"  # Zstandard's frame for metadata, as parallel tools write it
)


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


def _members(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """As parallel tools and ``cat`` make it: several archives in a row, cut anywhere in the text."""
    return lambda data: pack(data[: len(data) // 3]) + pack(b"") + pack(data[len(data) // 3 :])


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip of several members": _members(gzip.compress),
    "gzip padded with zeros": lambda data: gzip.compress(data) + bytes(512),
    "zstd": _zstd,
    "zstd of several frames": _members(_zstd),
    "zstd that begins with metadata": lambda data: _SKIPPED_FRAME + _zstd(data),
}
PACKERS = pytest.mark.parametrize("pack", _PACKERS.values(), ids=_PACKERS)


def _csv(rng: np.random.Generator) -> str:
    rows = rng.normal(size=(int(rng.integers(1, 300)), 4)).astype(np.float32)
    ends = rng.choice(["\n", "\r\n", "\n\n"], len(rows))
    text = "".join(
        ",".join(f'"{cell}"' for cell in row) + end for row, end in zip(rows.tolist(), ends, strict=True)
    )
    return str(rng.choice(["", "\ufeff", "\n"])) + text.rstrip() + str(rng.choice(["", "\n"]))


def _libsvm(rng: np.random.Generator) -> str:
    count = int(rng.integers(1, 300))
    return "".join(f"{row}:2 qid:{row // 7} {row % 5}:{rng.normal()}\n" for row in range(count))


@PACKERS
@pytest.mark.parametrize(("reader", "make"), [(CsvReader, _csv), (LibsvmReader, _libsvm)])
@pytest.mark.parametrize("block_size", [1, 100, 1 << 20])
def test_an_archive_reads_like_its_text(
    rng: np.random.Generator,
    write: Write,
    read_all: ReadAll,
    pack: Callable[[bytes], bytes],
    reader: Callable[..., Reader],
    make: Callable[[np.random.Generator], str],
    block_size: int,
) -> None:
    """The same rows bit for bit, whatever the targets it is asked to be cut at, with and without a telling name."""
    text = make(rng)
    expected = read_all(reader(), write(text, "plain"))
    for name in ("train", "train.gz"):
        file = write(pack(text.encode()), name)
        targets = rng.integers(1, file.size, size=5).tolist()
        got = read_all(reader(block_size=block_size), file, targets)
        np.testing.assert_array_equal(got.label, expected.label)
        np.testing.assert_array_equal(got.features, expected.features)
        np.testing.assert_array_equal(got.weight, expected.weight)
        np.testing.assert_array_equal(got.group, expected.group)


def test_a_header_in_an_archive_gives_the_names(write: Write, read_all: ReadAll) -> None:
    """Also where the archive is far smaller than the header."""
    names = ["y", *(f"a_long_name_that_repeats_itself_{number}" for number in range(100))]
    text = ",".join(names) + "\n" + ",".join(["1"] * 101) + "\n"
    file, reader = write(_zstd(text.encode())), CsvReader(header=True)
    assert file.size < len(",".join(names))
    assert reader.columns(file).names == tuple(names[1:])
    assert read_all(reader, file).rows == 1


def test_only_the_name_decides_before_a_file_is_opened(write: Write) -> None:
    """A telling name in any case keeps a file whole; Parquet is cut by rows whatever it is called."""
    for reader in (CsvReader(), LibsvmReader()):
        assert not any(
            reader.divisible(write("1,2", name)) for name in ("a.gz", "a.csv.GZ", "b.zst", "c.zstd", "d.gzip")
        )
        assert all(reader.divisible(write("1,2", name)) for name in ("a.csv", "gz", "a.gz.csv", "train"))


@pytest.mark.parametrize("reader", [CsvReader(), LibsvmReader()])
def test_an_archive_stays_in_one_piece(rng: np.random.Generator, write: Write, reader: Reader) -> None:
    """Every target becomes the start or the end, so that one rank has all, the one that has the middle."""
    text = _csv(rng) if isinstance(reader, CsvReader) else _libsvm(rng)
    file = write(gzip.compress(text.encode()))
    targets = sorted(rng.integers(1, file.size, size=9).tolist())
    surveys = [reader.survey(file, start, stop) for start, stop in zip([0, *targets], targets, strict=False)]
    places = reader.boundaries(file, targets, surveys)
    assert places == [file.size if target >= file.size / 2 else 0 for target in targets]


@PACKERS
def test_a_mistake_in_an_archive_is_named_by_its_line(
    write: Write, read_all: ReadAll, pack: Callable[[bytes], bytes]
) -> None:
    """Lines are those of the text, wherever members and blocks begin."""
    file = write(pack(b"1,2\n" * 500 + b"1,x\n" + b"1,2\n" * 100), "train.csv.gz")
    with pytest.raises(UserError, match=r"^train\.csv\.gz, line 501, column 2: 'x' is not a number"):
        read_all(CsvReader(block_size=64), file)


@pytest.mark.parametrize("pack", [gzip.compress, _zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("reader", [CsvReader(), LibsvmReader()])
def test_an_archive_cut_short_is_named(
    rng: np.random.Generator,
    write: Write,
    read_all: ReadAll,
    pack: Callable[[bytes], bytes],
    reader: Reader,
) -> None:
    """Wherever it was cut, no rows are dropped in silence."""
    text = _csv(rng) if isinstance(reader, CsvReader) else _libsvm(rng)
    whole = pack(text.encode())
    for length in rng.integers(4, len(whole), size=20).tolist():
        file = write(whole[:length], "cut.gz")
        with pytest.raises(
            UserError, match=r"^cut\.gz is no valid .* archive, or is damaged or cut short \("
        ):
            read_all(reader, file)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:40] + bytes([packed[40] ^ 255]) + packed[41:],
        lambda packed: packed[:-8] + b"\1\2\3\4" + packed[-4:],
        lambda packed: packed[:-4] + b"\1\0\0\0",
        lambda packed: packed[:-4] + b"\xff\xff\xff\xff",
        lambda packed: packed + b"something else",
        lambda _: b"\x1f\x8bnot an archive at all",
    ],
    ids=["flipped", "checksum", "shorter", "longer", "garbage behind", "only the magic"],
)
def test_a_damaged_archive_is_named(
    write: Write, read_all: ReadAll, damage: Callable[[bytes], bytes]
) -> None:
    """What is no archive, or one of something else, is one sentence."""
    file = write(damage(gzip.compress(b"1,2,3\n4,5,6\n" * 999)), "bad.csv.gz")
    with pytest.raises(UserError, match=r"^bad\.csv\.gz is no valid gzip archive, .*upload it again$"):
        read_all(CsvReader(), file)


@pytest.mark.parametrize("claimed", [0, 1, 11_987, 11_989, 1 << 26, 1 << 40, 1 << 62])
def test_an_archive_that_lies_about_its_size_is_named(write: Write, read_all: ReadAll, claimed: int) -> None:
    """A Zstandard frame says how long its text is; neither too little nor too much is believed."""
    packed = _zstd(b"1,2,3\n4,5,6\n" * 999)
    assert packed[4] >> 5 == 0b011  # the size in two bytes, and no window
    frame = packed[:4] + bytes([0b111_00000 | packed[4] & 0b11111]) + claimed.to_bytes(8, "little")
    file = write(frame + packed[7:], "bad.csv.zst")
    with pytest.raises(UserError, match=r"^bad\.csv\.zst is no valid Zstandard archive, .*upload it again$"):
        read_all(CsvReader(), file)


def test_a_row_is_given_up_without_being_looked_through_again_and_again(write: Write) -> None:
    """What an archive unfolds to is read in growing pieces while no row ends, up to just beyond the limit."""
    file, longest = write(gzip.compress(b'1,"\n' + b"1,2\n" * (1 << 18))), 1 << 19
    with compression.opened_text(file) as text:
        asked: list[int] = []
        stream = _Noting(text, asked)
        with pytest.raises(UserError, match=r"^train, line 1: this row has no end within 524,288 bytes"):
            list(
                lines.blocks_of(
                    Span(file, 0, compression.ENDLESS), stream, 1 << 10, quoted=True, longest=longest
                )
            )
    assert longest < sum(asked) <= longest + (1 << 10)
    assert len(asked) < 15


def test_a_name_may_lie(write: Write, read_all: ReadAll) -> None:
    """Text is read as text and an archive as what it is, whatever they are called."""
    assert read_all(CsvReader(), write("1,2\n3,4\n", "plain.csv.gz")).label.tolist() == [1, 3]
    assert read_all(CsvReader(), write(_zstd(b"1,2\n3,4\n"), "other.csv.gz")).label.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("data", "saying"),
    [
        (b"PK\x03\x04\x14\0\0\0", "is a zip archive; unpack it"),
        (b"BZh91AY&SY\x8f", "is compressed with bzip2; use gzip or Zstandard"),
        (b"\xfd7zXZ\0\0\4", "is compressed with xz"),
        (b"\x04\x22\x4d\x18\x64", "is compressed with LZ4"),
    ],
)
@pytest.mark.parametrize("reader", [CsvReader(), LibsvmReader()])
def test_what_cannot_be_unpacked_is_named(
    write: Write, read_all: ReadAll, data: bytes, saying: str, reader: Reader
) -> None:
    """The sentence says what the file is and what to use instead."""
    with pytest.raises(UserError, match="^train " + saying):
        read_all(reader, write(data))


def test_parquet_under_a_text_type_is_told(write: Write, read_all: ReadAll, tmp_path: Path) -> None:
    """The usual mistake with content types has its own sentence."""
    parquet.write_table(pa.table({"y": [1.0], "a": [2.0]}), tmp_path / "made")
    file = write((tmp_path / "made").read_bytes(), "part-0")
    with pytest.raises(UserError, match=r"^part-0 is a Parquet file; set the channel's content type to "):
        read_all(CsvReader(), file)


def test_a_tar_archive_is_told(write: Write, read_all: ReadAll) -> None:
    """Also inside gzip, as most tar archives come."""
    header = b"data.csv".ljust(257, b"\0") + b"ustar\0"
    file = write(gzip.compress(header.ljust(512, b"\0") + b"1,2\n".ljust(512, b"\0")), "train.tgz")
    with pytest.raises(UserError, match=r"^train\.tgz is a tar archive; unpack it$"):
        read_all(CsvReader(), file)


@pytest.mark.parametrize("pack", [gzip.compress, _zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("reader", [CsvReader(), CsvReader(header=True), LibsvmReader()])
def test_an_archive_without_rows_is_no_mistake(
    write: Write, read_all: ReadAll, pack: Callable[[bytes], bytes], text: bytes, reader: Reader
) -> None:
    """As with text files that are empty."""
    file = write(pack(text), "empty.gz")
    assert reader.columns(file).count == 0
    assert read_all(reader, file).rows == 0


@pytest.mark.parametrize("pack", [bytes, gzip.compress, _zstd], ids=["plain", "gzip", "zstd"])
def test_any_part_of_the_text_can_be_read(
    rng: np.random.Generator, write: Write, pack: Callable[[bytes], bytes]
) -> None:
    """Offsets are those of the text, from the start to beyond its end."""
    text = rng.integers(48, 58, size=5000).astype(np.uint8).tobytes()
    file = write(pack(text))
    for start, stop in np.sort(rng.integers(0, 5001, size=(20, 2))).tolist():
        assert b"".join(lines.chunks(file, start, stop, 77)) == text[start:stop]
    assert b"".join(lines.chunks(file, 10, compression.ENDLESS, 1000)) == text[10:]


def test_a_row_without_end_is_given_up_in_an_archive(write: Write) -> None:
    """An archive that unfolds to one endless row does not fill the memory."""
    file = write(gzip.compress(b"1,2\n" + b"1" * 10_000))
    with pytest.raises(UserError, match=r"^train, line 2: this row has no end within 100 bytes"):
        list(lines.blocks(Span(file, 0, compression.ENDLESS), 64, quoted=True, longest=100))
