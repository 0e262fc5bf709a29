"""numba as it is commonly used, for kernels that cannot be run without it. Importing this module imports numba."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numba
from numba.core.caching import FunctionCache

from onnx_trtcal.support.code_cache import own_temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["cached_dispatcher"]

logger = logging.getLogger(__name__)


class _LenientCache(FunctionCache):  # type: ignore[misc]  # numba has no type hints
    """numba's on-disk cache, for which a full disk or a damaged file means compiling again, not failing."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 (unpickling a damaged file can raise anything)
            logger.debug("compiled code is not read from %s: %s", self.cache_path, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:  # noqa: BLE001 (a damaged index is read before it is written)
            logger.debug("compiled code is not kept in %s: %s", self.cache_path, error)


def cached_dispatcher(function: Callable[..., Any]) -> Any:
    """Compiles `function` at each first call for the argument types of that call, without the GIL."""
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    try:
        dispatcher._cache = _cache(function)
    except (RuntimeError, OSError) as error:
        logger.debug("compiled code is not cached: %s", error)
    return dispatcher


def _cache(function: Callable[..., Any]) -> _LenientCache:
    try:
        return _LenientCache(function)
    except RuntimeError:
        if numba.config.CACHE_DIR:
            raise
        numba.config.CACHE_DIR = own_temporary_folder()
        return _LenientCache(function)
