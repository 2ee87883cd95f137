"""How a result becomes JSON: what JSON knows as it is, the rest by the rules of Django's encoder and
a few more (docs/guide/functions.md).

A plain result must cost no more than the encoder itself.
"""

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import math
import os
import sys
import uuid

from tollgate_frames import any_digits, encode, encoder_of

DEPTH_MAX = 100


class NotJson(Exception):
    """What `main` returned cannot be written as JSON."""


def to_json(result):
    """The result as JSON text."""
    try:
        text = encode_any(result)
    except MemoryError:
        raise
    except Exception:
        text = slowly(result)
    if not text.isascii():
        try:
            # Half a surrogate pair is legal in a Python string, but not in UTF-8.
            text.encode()
        except UnicodeEncodeError as error:
            raise NotJson(find_fault(result, "result", 0) or str(error)) from None
    return text


def slowly(result):
    """For keys that are no strings, numbers without end, and whatever is not JSON after all."""
    fault = find_fault(result, "result", 0)
    if fault:
        raise NotJson(fault)
    try:
        with any_digits():
            return encode(plain(result))
    except MemoryError:
        raise
    except Exception as error:
        raise NotJson(f"result is of another kind each time: {words_of(error)}") from None


def simple(value):
    """What stands for a value that JSON does not know, one level deep. `TypeError` if nothing does."""
    kind = type(value)
    if isinstance(value, (datetime.datetime, datetime.time)):
        return zulu(iso(value))
    if isinstance(value, datetime.date):
        return iso(value)
    if isinstance(value, datetime.timedelta):
        return duration(value)
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset, collections.abc.Set)):
        return in_order(value)
    if isinstance(value, memoryview):
        # Its bytes need not lie side by side.
        value = value.tobytes()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, collections.UserString):
        return str(value)
    if isinstance(value, type):
        raise TypeError(kind.__name__)
    if hasattr(kind, "model_fields") and callable(getattr(value, "model_dump", None)):
        return value.model_dump(mode="json")
    if hasattr(kind, "__fields__") and callable(getattr(value, "dict", None)):
        return value.dict()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if isinstance(path, str) else os.fsdecode(path)
    if isinstance(value, collections.abc.Mapping):
        return dict(value.items())
    if isinstance(value, (collections.deque, collections.abc.Sequence, collections.abc.ValuesView)):
        return list(value)
    if kind.__module__.split(".")[0] in ("numpy", "pandas") and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(kind.__name__)


encode_any = encoder_of(simple, {})


def iso(value):
    text = value.isoformat()
    if not isinstance(text, str):
        raise ValueError("isoformat gives no text")
    return text


def zulu(text):
    """UTC is written as the API writes it."""
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def duration(delta):
    """ISO 8601, as Django writes it: `P1DT02H03M04.000005S`."""
    sign, delta = ("-", -delta) if delta < datetime.timedelta(0) else ("", delta)
    minutes, seconds = divmod(delta.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = f".{delta.microseconds:06d}" if delta.microseconds else ""
    return f"{sign}P{delta.days}DT{hours:02d}H{minutes:02d}M{seconds:02d}{parts}S"


def in_order(members):
    """A set's members: sorted if they can be, else in the order of their text, so that the same set
    gives the same result."""
    try:
        return sorted(members)
    except TypeError:
        return sorted(members, key=lambda member: (type(member).__name__, repr(member)))


def key_text(key):
    """The text of a key of an object. `TypeError` if it has none."""
    if isinstance(key, enum.Enum) and not isinstance(key, (str, int, float)):
        key = key.value
    if key is None or isinstance(key, (str, int, float)):
        return key
    if isinstance(key, (datetime.date, datetime.time, decimal.Decimal, uuid.UUID, os.PathLike)):
        return simple(key)
    raise TypeError(type(key).__name__)


def plain(value):
    """The same value of types that JSON knows. It has no fault."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {key_text(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return plain(simple(value))


def find_fault(value, path, depth):
    """Where a value cannot become JSON, in words; None if it can. What it consists of may be the
    function's own code, and fail."""
    try:
        return fault_of(value, path, depth)
    except MemoryError:
        raise
    except Exception as error:
        return f"{path} is of type {type(value).__name__}, which fails: {words_of(error)}"


def words_of(error):
    try:
        return f"{type(error).__name__}: {str.__str__(str(error))}"
    except Exception:
        return type(error).__name__


def fault_of(value, path, depth):
    if value is None or isinstance(value, (bool, int)):
        return None
    if isinstance(value, str):
        return None if is_utf8(value) else f"{path} holds half a surrogate pair"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}"
    if depth > DEPTH_MAX:
        return f"it refers back to itself, or is nested deeper than {DEPTH_MAX} levels"
    if isinstance(value, dict):
        return fault_of_dict(value, path, depth)
    if isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            fault = find_fault(inner, f"{path}[{index}]", depth + 1)
            if fault:
                return fault
        return None
    try:
        stand_in = simple(value)
    except TypeError as error:
        kind = type(value).__name__
        why = f", which fails: {words_of(error)}" if error.args != (kind,) else ""
        if isinstance(value, collections.abc.Iterator):
            why = "; make a list of it"
        return f"{path} is of type {kind}{why}"
    return find_fault(stand_in, path, depth + 1)


def fault_of_dict(value, path, depth):
    for key, inner in value.items():
        try:
            text = key_text(key)
        except TypeError:
            return f"{path} has a key of type {type(key).__name__}"
        if isinstance(text, float) and not math.isfinite(text):
            return f"{path} has the key {text}"
        if isinstance(text, str) and not is_utf8(text):
            return f"{path} has a key with half a surrogate pair"
        fault = find_fault(inner, f"{path}[{shown(key)}]", depth + 1)
        if fault:
            return fault
    return None


def shown(key):
    try:
        return repr(key)
    except Exception:
        return type(key).__name__


def is_utf8(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
