"""``manage.py cache_stats``: print the hit rate and the content of the response cache."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat

from pcf.cache.redis_gateway import CacheUnavailable, redis_gateway
from pcf.cache.statistics import HitRate, key_statistics, overview


class Command(BaseCommand):
    help = (
        "Print the hit rate of all processes and the keys by kind. The command scans all keys. "
        "The counts of a process arrive with its next look-ups."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            glance, found = overview(redis_gateway()), key_statistics()
        except CacheUnavailable as error:
            raise CommandError("Redis does not answer") from error
        self.stdout.write(f"hit rate, this hour and the last  {_described(glance.last_hour)}")
        self.stdout.write(f"hit rate, 24 hours                {_described(glance.last_day)}")
        self.stdout.write("(counts of the last seconds arrive with the next look-ups)")
        for kind, count in sorted(found.keys.items()):
            self.stdout.write(f"{kind:32}{count:10,}  {_size(found.bytes[kind])}")
        limit = _size(glance.max_memory) if glance.max_memory else "no limit"
        self.stdout.write(f"Redis uses {_size(glance.memory)} of {limit}, {glance.policy}")


def _described(rate: HitRate) -> str:
    counted = f"{rate.hits:,} hits, {rate.misses:,} misses"
    return counted if rate.percent is None else f"{rate.percent:.1f} % ({counted})"


def _size(size: int) -> str:
    return filesizeformat(size).replace("\xa0", " ")
