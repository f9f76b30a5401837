"""Small changes to bytes, lines, JSON and zip archives: the alphabet of the campaign.

A mutator is a function of a random generator and of what it changes. Tables name them.
"""

import io
import json
import math
import zipfile


def _place(dice, data):
    return dice.randrange(len(data)) if data else 0


def flip_bit(dice, data):
    place = _place(dice, data)
    changed = bytearray(data)
    changed[place] ^= 1 << dice.randrange(8)
    return bytes(changed)


def flip_digit(dice, data):
    digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
    if not digits:
        return flip_bit(dice, data)
    place = dice.choice(digits)
    other = dice.choice([d for d in b"0123456789" if d != data[place]])
    return data[:place] + bytes([other]) + data[place + 1 :]


def truncate(dice, data):
    return data[: _place(dice, data)]


def cut_block(dice, data):
    start = _place(dice, data)
    return data[:start] + data[start + dice.randint(1, 64) :]


def repeat_block(dice, data):
    start = _place(dice, data)
    end = start + dice.randint(1, 64)
    return data[:end] + data[start:end] + data[end:]


def zero_block(dice, data):
    start = _place(dice, data)
    end = min(start + dice.randint(1, 64), len(data))
    return data[:start] + bytes(end - start) + data[end:]


def insert_noise(dice, data):
    start = dice.randint(0, len(data))
    return data[:start] + dice.randbytes(dice.randint(1, 64)) + data[start:]


def wrong_magic(dice, data):
    return dice.choice([bytes(8), b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"%!PS-Adobe"]) + data[8:]


def nothing_left(dice, data):
    return b""


BYTES = {
    one.__name__.replace("_", " "): one
    for one in (
        *(flip_bit, flip_digit, truncate, cut_block, repeat_block, zero_block, insert_noise),
        *(wrong_magic, nothing_left),
    )
}


def _of_lines(change):
    def mutator(dice, data):
        lines = data.splitlines(keepends=True)
        change(lines, dice.randrange(len(lines)), dice.randrange(len(lines)))
        return b"".join(lines)

    return mutator


def _swap(lines, i, j):
    lines[i], lines[j] = lines[j], lines[i]


LINES = {
    "drop line": _of_lines(lambda lines, i, _: lines.pop(i)),
    "repeat line": _of_lines(lambda lines, i, j: lines.insert(j, lines[i])),
    "swap lines": _of_lines(_swap),
    "empty line": _of_lines(lambda lines, i, _: lines.insert(i, b"\n")),
    "whole twice": lambda dice, data: data + data,
    "no last newline": lambda dice, data: data.rstrip(b"\n"),
}

# What stands for any value of JSON.
STRANGE = (
    *(None, True, -1, 0, 1, 2**63, 10**400, 0.5, math.nan, -math.inf, 1e308),
    *("", "x", "nan", "1e400", "finished", "../x", "/etc/passwd", "\x1b[31mred", "a\nb", "\ud800"),
    *([], {}, [[]], ["step"], {"step": 1}, "long " * 2000),
)


def _nodes(value, path=()):
    yield path
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, child in value.items() if isinstance(value, dict) else ():
        yield from _nodes(child, (*path, key))


def _edited(dice, value, change):
    """The value after a change to one of its items, given the parent and the key."""
    path = dice.choice([path for path in _nodes(value) if path])
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return value


def _of_json(change):
    return lambda dice, data: json.dumps(_edited(dice, json.loads(data), change(dice))).encode()


def _rename(parent, key):
    if isinstance(parent, dict):
        parent[f"{key}_"] = parent.pop(key)
    else:
        parent.insert(0, parent[key])


def _strange(dice):
    strange = dice.choice(STRANGE)
    return lambda parent, key: parent.__setitem__(key, strange)


JSON = {
    "strange value": _of_json(_strange),
    "item missing": _of_json(lambda _: lambda parent, key: parent.__delitem__(key)),
    "other key": _of_json(lambda _: _rename),
    "deep nesting": lambda dice, data: b"[" * 100_000 + b"]" * 100_000,
    "another type": lambda dice, data: json.dumps(dice.choice(STRANGE)).encode(),
}


def _one_line(mutator):
    """The mutator for the object in one of the lines; what stands around it is kept."""

    def in_a_line(dice, data):
        lines = data.splitlines()
        row = dice.randrange(len(lines))
        start, end = lines[row].index(b"{"), lines[row].rindex(b"}") + 1
        changed = mutator(dice, lines[row][start:end])
        lines[row] = lines[row][:start] + changed + lines[row][end:]
        return b"\n".join(lines) + b"\n"

    return in_a_line


# Of files with an object in every line.
JSON_LINES = {name: _one_line(mutator) for name, mutator in JSON.items()}


def rezipped(data, change):
    """A zip archive after a change to its members, pairs of a name and its content."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in change(members):
            archive.writestr(name, content)
    return buffer.getvalue()


def _zip(change):
    return lambda dice, data: rezipped(data, lambda members: change(dice, members))


def _changed_member(dice, members):
    row = dice.randrange(len(members))
    name, content = members[row]
    mutator = dice.choice(list(BYTES.values()))
    return [*members[:row], (name, mutator(dice, content)), *members[row + 1 :]]


def _wrong_checksum(dice, data):
    place = data.rfind(b"PK\x01\x02") + 16  # of the last member, in the directory
    return data[:place] + dice.randbytes(4) + data[place + 4 :]


ZIP = {
    "member changed": _zip(_changed_member),
    "member missing": _zip(lambda dice, members: dice.sample(members, len(members) - 1)),
    "members reversed": _zip(lambda dice, members: members[::-1]),
    "member outside": _zip(lambda dice, members: [*members, ("../../escaped", b"escaped")]),
    "wrong checksum": _wrong_checksum,
}
