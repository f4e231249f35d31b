"""What a machine means by a float32, for every protocol that carries one."""

import struct


def shortest_float32(number: float) -> float:
    """The shortest decimal that reads back as the same float32: 1.2, not 1.2000000477."""
    wanted = struct.pack(">f", number)
    for digits in range(1, 9):
        shorter = float(f"{number:.{digits}g}")
        try:
            if struct.pack(">f", shorter) == wanted:
                return shorter
        except OverflowError:  # rounded up beyond the largest float32
            continue
    return float(f"{number:.9g}")  # nine digits always read back the same
