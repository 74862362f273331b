"""CRC-32C (Castagnoli), as used in TFRecord files. Source: RFC 3720, appendix B.4.

The register is linear in its state and in the bytes, so long data are cut into lanes that run in
parallel in NumPy, and joined by the operator that feeds one lane's length of zeros.
"""

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected
_SHORT = 2048  # bytes; below this the plain loop is faster
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes) -> int:
    """CRC-32C of `data`; of b"123456789" it is 0xE3069283."""
    if len(data) < _SHORT:
        return _plain(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    lanes = 1 << (len(data).bit_length() // 2)
    steps = len(data) // (4 * lanes)  # of four bytes each
    head = len(data) - 4 * lanes * steps
    words = np.ascontiguousarray(np.frombuffer(data, "<u4", offset=head).reshape(lanes, steps).T)
    state = np.zeros(lanes + 32, np.uint32)
    state[0] = _plain(data[:head], 0xFFFFFFFF)
    state[lanes:] = np.uint32(1) << np.arange(32, dtype=np.uint32)  # each bit, fed with zeros
    feed = np.zeros(lanes + 32, np.uint32)
    for step in range(steps):
        feed[:lanes] = words[step]
        mixed = state ^ feed
        state = (
            _TABLES[3][mixed & 0xFF]
            ^ _TABLES[2][(mixed >> 8) & 0xFF]
            ^ _TABLES[1][(mixed >> 16) & 0xFF]
            ^ _TABLES[0][mixed >> 24]
        )
    return _join(state[:lanes], state[lanes:]) ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """A CRC as a TFRecord stores it: rotated right by 15 bits, plus a constant, modulo 2^32."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _plain(data: bytes, state: int) -> int:
    """The register after `data`, byte by byte."""
    for byte in data:
        state = _BYTE[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


def _join(lanes: np.ndarray, operator: np.ndarray) -> int:
    """The register over all lanes in order: the state so far is fed a lane of zeros, plus the next.

    Args:
      lanes: [N] uint32, registers of the lanes, all but the first starting from 0.
      operator: [32] uint32, the effect of a lane of zeros on each bit of the register.
    """
    bits = np.arange(32, dtype=np.uint32)
    while len(lanes) > 1:  # neighbours pairwise; the operator then spans twice the length
        left, right = lanes[0::2], lanes[1::2]
        lanes = _apply(operator, left, bits) ^ right
        operator = _apply(operator, operator, bits)
    return int(lanes[0])


def _apply(operator: np.ndarray, states: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Apply the operator to each of the states [N]."""
    chosen = ((states[:, None] >> bits[None, :]) & 1).astype(bool)
    return np.bitwise_xor.reduce(np.where(chosen, operator[None, :], np.uint32(0)), axis=1)


def _tables() -> np.ndarray:
    """[4, 256]: table k is the register after a byte and k zero bytes."""
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    tables: list[np.ndarray] = [table]
    for _ in range(3):
        tables.append(table[tables[-1] & 0xFF] ^ (tables[-1] >> 8))
    return np.stack(tables)


_TABLES = _tables()
_BYTE = [int(value) for value in _TABLES[0]]
