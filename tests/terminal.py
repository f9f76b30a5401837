"""A terminal of so many columns: what a command leaves on its screen."""

import os
import re
import struct
import sys

CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|.", re.DOTALL)


def screen_of(command, columns, folder, **environment):
    """Lines of the screen after a Python command, as people see them, and its exit code."""
    import fcntl
    import pty
    import termios

    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        kept = {name: one for name, one in os.environ.items() if name not in ("COLUMNS", "LINES")}
        given = {**kept, "TERM": "xterm", **environment}
        os.execve(sys.executable, [sys.executable, *command], given)
    size = struct.pack("HHHH", 50, columns, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    printed = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:  # Linux's word for the end
            break
        if not block:
            break
        printed += block
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    return shown(printed.decode()), os.waitstatus_to_exitcode(status)


def shown(printed):
    """The lines that printed characters leave, without those that are empty at the end."""
    lines, row, column = [""], 0, 0
    for match in CONTROL.finditer(printed):
        one, (number, action) = match[0], (match[1], match[2])
        if one == "\r":
            column = 0
        elif one == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif action == "A":
            row = max(row - int(number or 1), 0)
        elif action == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        elif one.isprintable():
            line = lines[row].ljust(column)
            lines[row] = line[:column] + one + line[column + 1 :]
            column += 1
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]
