"""Counts SQLite's writes that are not yet synced, which a power cut would lose.

The counter replaces functions of SQLite's file layer (https://sqlite.org/vfs.html). Every write and every
fsync of this process's databases passes this layer.
"""

import ctypes
from collections import Counter
from contextlib import closing
from types import TracebackType
from typing import Any, Self

import apsw

METHODS = 19
"""The fields of sqlite3_io_methods, version 3.

They begin with version, xClose, xRead, xWrite, xTruncate, xSync.
"""
X_WRITE, X_SYNC = 3, 5

_Pointer = ctypes.c_void_p
_Write = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer, ctypes.c_int, ctypes.c_int64)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.c_int)
# The name is passed as a pointer, because SQLite uses the memory as long as the file is open.
_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, _Pointer, _Pointer, _Pointer, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)


class _Vfs(ctypes.Structure):
    """The beginning of sqlite3_vfs."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _Pointer),
        ("name", ctypes.c_char_p),
        ("data", _Pointer),
        ("open", _Pointer),
    )


class FsyncCounter:
    """Counts for the connections that are opened inside the `with` block, by file name.

    `syncs` has the number of fsyncs, and `unsynced` the writes since the last fsync.
    """

    def __init__(self) -> None:
        self.syncs: Counter[str] = Counter()
        self.unsynced: Counter[str] = Counter()
        self._vfs = _default_vfs()
        self._original = int(self._vfs.open)
        self._open = _Open(self._opened)
        self._names: dict[int, str] = {}
        self._tables: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._vfs.open = ctypes.cast(self._open, _Pointer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vfs.open = self._original

    def _opened(self, vfs: int, name: int | None, file: int, flags: int, given: Any) -> int:
        answer = int(_Open(self._original)(vfs, name, file, flags, given))
        place = ctypes.cast(file, ctypes.POINTER(_Pointer))
        if answer == 0 and place.contents.value:
            self._names[file] = _file_name(name)
            place.contents.value = ctypes.addressof(self._table(place.contents.value))
        return answer

    def _table(self, original: int) -> Any:
        """Return the methods of a file, with xWrite and xSync replaced."""
        if original not in self._tables:
            table = (_Pointer * METHODS).from_buffer_copy((_Pointer * METHODS).from_address(original))
            write, sync = _Write(table[X_WRITE] or 0), _Sync(table[X_SYNC] or 0)

            def wrote(file: int, data: int, size: int, offset: int) -> int:
                self.unsynced[self._names[file]] += 1
                return int(write(file, data, size, offset))

            def synced(file: int, flags: int) -> int:
                answer = int(sync(file, flags))
                if answer == 0:
                    self.syncs[self._names[file]] += 1
                    self.unsynced.pop(self._names[file], None)
                return answer

            ours = _Write(wrote), _Sync(synced)
            table[X_WRITE], table[X_SYNC] = (ctypes.cast(each, _Pointer).value for each in ours)
            _kept.append((table, ours, self))
            self._tables[original] = table
        return self._tables[original]


def _default_vfs() -> _Vfs:
    """Return SQLite's own structure (SQLITE_FCNTL_VFS_POINTER in https://sqlite.org/c3ref/file_control.html)."""
    address = _Pointer()
    with closing(apsw.Connection(":memory:")) as connection:
        connection.file_control("main", apsw.SQLITE_FCNTL_VFS_POINTER, ctypes.addressof(address))
    assert address.value is not None
    return _Vfs.from_address(address.value)


def _file_name(name: int | None) -> str:
    return ctypes.string_at(name).decode().rpartition("/")[2] if name else "temporary"


_kept: list[Any] = []
"""Tables and functions that files use after the counter's end, so they must not be freed."""
