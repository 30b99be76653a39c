"""A query that is compiled once. Django takes several times as long to put one into words as the
database to answer it, and some are asked for every command.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)

# What stands for the values while a query is compiled: one of each type, never met in earnest.
STAND_INS: dict[type, Callable[[int], Any]] = {
    int: lambda number: -(10**12) - number,
    str: lambda number: f"\x1f{number}",
    dt.datetime: lambda number: dt.datetime(1900, 1, 1, 0, 0, number, tzinfo=dt.UTC),
}


class Prepared(Generic[M]):
    """`build` makes the query from keyword arguments of the `types` said; a call gives them their
    values, and a list of rows. No value decides the query's shape: none is None, none a list.
    """

    def __init__(self, build: Callable[..., QuerySet[M, M]], **types: type) -> None:
        self._build = build
        self._types = types
        self._compiled: dict[str, tuple[type[M], str, list[Any]]] = {}

    def __call__(self, **values: Any) -> list[M]:
        compiled = self._compiled.get(connection.vendor) or self._compile()
        model, sql, parameters = compiled
        filled = {name: _adapted(value) for name, value in values.items()}
        given = [filled[p.name] if isinstance(p, _Place) else p for p in parameters]
        return list(model._default_manager.raw(sql, given))

    def _compile(self) -> tuple[type[M], str, list[Any]]:
        marks = {
            name: STAND_INS[kind](number) for number, (name, kind) in enumerate(self._types.items())
        }
        places = {_adapted(mark): _Place(name) for name, mark in marks.items()}
        query = self._build(**marks)
        sql, parameters = query.query.sql_with_params()
        found = [places.get(parameter, parameter) for parameter in parameters]
        compiled = self._compiled[connection.vendor] = (query.model, sql, found)
        return compiled


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the value of this name goes."""

    name: str


def _adapted(value: Any) -> Any:
    """As Django hands it to the database's driver."""
    if isinstance(value, dt.datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value
