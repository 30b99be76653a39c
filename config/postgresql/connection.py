"""A server that is frozen, or cut off, keeps its lines open and answers nothing: no timeout of its
own ends a statement then, and TCP sees a living peer. So the client counts the seconds.
"""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from realtime.core.waiting import answer_within_s

RV = TypeVar("RV")


class Connection(psycopg.Connection[Any]):
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """As psycopg's, for `answer_within_s` at most. Raises OperationalError.

        The line is closed then: what is under way there may be done or not.
        """
        try:
            return super().wait(gen, interval, timeout or answer_within_s.get())
        except (errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout) as error:
            # To psycopg they are faults of the server; to us, a line that is gone.
            self.close()
            raise psycopg.OperationalError(str(error)) from error
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise
