"""Zip files of unknown origin, read in memory with limited sizes; nothing is extracted."""

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
"""Smaller members may have any compression ratio."""

ENTRIES_MAX = 10_000
"""Largest number of directory entries in the raw file, including nested archives, before Python reads any."""

ENTRY, END = b"PK\x01\x02", b"PK\x05\x06"

END_BYTES = 22

PLAIN = re.compile(r"\.?\w[\w.-]*(/\.?\w[\w.-]*)*", re.ASCII)

ENCRYPTED = 0x1 | 0x40 | 0x2000


class Archive:
    """A zip file in memory. The constructor checks its directory; `read` checks a member.

    Args:
        content: the file.
        place: text after members' names in messages, for example " of policy.pth".
        compressed: accept members that are compressed with deflate.

    Raises:
        ValueError: the directory is damaged, too large or unusual.
    """

    def __init__(self, content: bytes, place: str = "", *, compressed: bool = True) -> None:
        self._place = place
        self._methods = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} if compressed else {zipfile.ZIP_STORED}
        # Without a comment at the end, all readers find the same directory.
        if content[-END_BYTES:-18] != END or content[-2:] != b"\0\0":
            raise ValueError(f"the zip file{place} is truncated or not a zip file")
        entries = content.count(ENTRY)
        if entries > ENTRIES_MAX:
            raise ValueError(f"the zip file{place} lists more than {ENTRIES_MAX} members")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
            raise ValueError(f"the zip file{place} is damaged ({shown(str(error))})") from error
        self._members = {info.orig_filename: info for info in self._zip.infolist()}
        self._check()

    @property
    def names(self) -> list[str]:
        """Names of the members."""
        return list(self._members)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """The content of a member.

        Raises:
            ValueError: the member is missing, damaged or larger than the limit, or its size is not the declared one.
        """
        if name not in self._members:
            raise ValueError(f"it has no member {name!r}{self._place}")
        label = f"member {shown(name)}{self._place}"
        info = copy.copy(self._members[name])
        declared = info.file_size
        if declared > limit_bytes:
            raise ValueError(f"{label} claims {declared} bytes, more than {limit_bytes}")
        info.file_size = sys.maxsize  # so that zipfile does not stop where the directory says
        try:
            with self._zip.open(info) as stream:
                content = stream.read(limit_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            raise ValueError(f"{label} is damaged ({shown(str(error))})") from error
        if len(content) > limit_bytes:
            raise ValueError(f"{label} holds more than {limit_bytes} bytes, and claims {declared}")
        if len(content) != declared:
            raise ValueError(f"{label} holds {len(content)} bytes, and claims {declared}")
        return content

    def _check(self) -> None:
        infos, place = self._zip.infolist(), self._place
        if len(infos) > MEMBERS_MAX:
            raise ValueError(f"the zip file{place} lists {len(infos)} members, more than {MEMBERS_MAX}")
        if len(self._members) != len(infos):
            names = [info.orig_filename for info in infos]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"member {shown(twice)}{place} occurs twice")
        total = sum(info.file_size for info in infos)
        for info in infos:
            problem = self._problem(info)
            if problem:
                raise ValueError(f"member {shown(info.orig_filename)}{place} {problem}")
        if total > UNPACKED_MAX_BYTES:
            raise ValueError(f"the zip file{place} claims {total} bytes unpacked, more than {UNPACKED_MAX_BYTES}")

    def _problem(self, info: zipfile.ZipInfo) -> str:
        """The problem with a directory entry; empty if there is none."""
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
