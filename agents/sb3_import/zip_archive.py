"""Zip files of strangers, read in memory: sizes capped, names plain, nothing extracted."""

from __future__ import annotations

import copy
import io
import re
import stat
import sys
import zipfile
import zlib

from agents.untrusted import shown

MEMBERS_MAX = 512

UNPACKED_MAX_BYTES = 1 << 30

RATIO_MAX = 100

RATIO_FROM_BYTES = 1 << 16
"""Members that claim to be smaller than this may be compressed as well as they like."""

ENTRIES_MAX = 10_000
"""Directory entries in the raw file, those of archives in it included, before Python reads any."""

ENTRY, END = b"PK\x01\x02", b"PK\x05\x06"

END_BYTES = 22

PLAIN = re.compile(r"\.?\w[\w.-]*(/\.?\w[\w.-]*)*", re.ASCII)

ENCRYPTED = 0x1 | 0x40 | 0x2000


class Archive:
    """A zip file in memory whose directory has been judged; a member is judged again when it is read.

    Args:
        content: the file.
        place: what its members' names are followed by in messages, for example " of policy.pth".
        compressed: whether members may be compressed (deflate).

    Raises:
        ValueError: anything that an honest file does not have.
    """

    def __init__(self, content: bytes, place: str = "", *, compressed: bool = True) -> None:
        self._place = place
        self._methods = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} if compressed else {zipfile.ZIP_STORED}
        # No comment at the end, so that there is one way only to find the directory.
        if content[-END_BYTES:-18] != END or content[-2:] != b"\0\0":
            raise ValueError(f"the zip file{place} is cut short, or not one")
        entries = content.count(ENTRY)
        if entries > ENTRIES_MAX:
            raise ValueError(f"the zip file{place} lists more than {ENTRIES_MAX} members")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
            raise ValueError(f"the zip file{place} is damaged ({shown(str(error))})") from error
        self._members = {info.orig_filename: info for info in self._zip.infolist()}
        self._judge()

    @property
    def names(self) -> list[str]:
        """Names of the members."""
        return list(self._members)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """A member's content, which must have the length that the directory gives.

        Raises:
            ValueError: a member that is missing, damaged, or larger than the limit.
        """
        if name not in self._members:
            raise ValueError(f"it has no member {name!r}{self._place}")
        told = f"member {shown(name)}{self._place}"
        info = copy.copy(self._members[name])
        declared = info.file_size
        if declared > limit_bytes:
            raise ValueError(f"{told} claims {declared} bytes, more than {limit_bytes}")
        info.file_size = sys.maxsize  # so that zipfile does not stop where the directory says
        try:
            with self._zip.open(info) as stream:
                content = stream.read(limit_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            raise ValueError(f"{told} is damaged ({shown(str(error))})") from error
        if len(content) > limit_bytes:
            raise ValueError(f"{told} holds more than {limit_bytes} bytes, and claims {declared}")
        if len(content) != declared:
            raise ValueError(f"{told} holds {len(content)} bytes, and claims {declared}")
        return content

    def _judge(self) -> None:
        infos, place = self._zip.infolist(), self._place
        if len(infos) > MEMBERS_MAX:
            raise ValueError(f"the zip file{place} lists {len(infos)} members, more than {MEMBERS_MAX}")
        if len(self._members) != len(infos):
            names = [info.orig_filename for info in infos]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"member {shown(twice)}{place} is there twice")
        total = sum(info.file_size for info in infos)
        for info in infos:
            problem = self._problem(info)
            if problem:
                raise ValueError(f"member {shown(info.orig_filename)}{place} {problem}")
        if total > UNPACKED_MAX_BYTES:
            raise ValueError(f"the zip file{place} claims {total} bytes unpacked, more than {UNPACKED_MAX_BYTES}")

    def _problem(self, info: zipfile.ZipInfo) -> str:
        """What is wrong with a directory entry; empty if nothing."""
        if not PLAIN.fullmatch(info.orig_filename):
            return "has no plain relative name"
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            return "is not a regular file, but a link or a device"
        if info.flag_bits & ENCRYPTED:
            return "is encrypted"
        if info.compress_type not in self._methods:
            return "is compressed in a way that is not read here"
        if info.file_size > max(RATIO_FROM_BYTES, RATIO_MAX * info.compress_size):
            return f"claims {info.file_size} bytes from {info.compress_size}, more than {RATIO_MAX} to 1"
        return ""
