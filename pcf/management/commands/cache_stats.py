"""What the response cache holds and how often it hits."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import filesizeformat

from pcf.cache.gate import CacheUnavailable, gate
from pcf.cache.survey import survey
from pcf.cache.tally import Rate, overview


class Command(BaseCommand):
    help = "Hit rate of all processes, and what is in the cache. Walks through all of its keys."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            glance, found = overview(gate()), survey()
        except CacheUnavailable as error:
            raise CommandError("Redis does not answer") from error
        self.stdout.write(f"hit rate, this hour and the last  {_described(glance.last_hour)}")
        self.stdout.write(f"hit rate, 24 hours                {_described(glance.last_day)}")
        for kind, count in sorted(found.keys.items()):
            self.stdout.write(f"{kind:32}{count:10,}  {_size(found.bytes[kind])}")
        limit = _size(glance.max_memory) if glance.max_memory else "no limit"
        self.stdout.write(f"Redis uses {_size(glance.memory)} of {limit}, {glance.policy}")


def _described(rate: Rate) -> str:
    counted = f"{rate.hits:,} hits, {rate.misses:,} misses"
    return counted if rate.percent is None else f"{rate.percent:.1f} % ({counted})"


def _size(size: int) -> str:
    return filesizeformat(size).replace("\xa0", " ")
