"""The number of Redis commands that a request's session takes, as the server sees them: ``python -m bench.commands``.

Commands that a script runs inside the server are not counted: they cost no round trip.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: the packages are beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import servers
from bench.driver import SCENARIOS, environ, respond, visitors
from bench.peers import CONTENDERS, Contender

START, END = "from-here", "to-here"


def commands(contender: Contender, client: Any, work: str, cookie: str) -> list[str]:
    """Return the names of the commands that one request sends over connections that are open already."""
    request = environ(work, cookie)
    respond(contender.applications[work], request)
    with client.monitor() as monitor:
        client.echo(START)
        respond(contender.applications[work], request)
        client.echo(END)
        seen: list[str] = []
        for command in monitor.listen():
            if END in command["command"]:
                return seen
            if START in command["command"]:
                seen.clear()
            elif command["client_type"] != "lua":
                seen.append(command["command"].split()[0].upper())
    raise SystemExit("the server went away")


def main() -> None:
    from redis import Redis

    client = Redis.from_url(servers.valkey())
    for scenario in SCENARIOS:
        print(f"{scenario.name:<4} {scenario.title}")
    with tempfile.TemporaryDirectory(prefix="wsgi-session-bench-") as folder:
        for kind in CONTENDERS:
            if not kind.name.endswith("-redis"):
                continue
            try:
                contender = kind(Path(folder))
            except ImportError as error:
                print(f"{kind.name} is left out: {error}", file=sys.stderr)
                continue
            planted = visitors(contender, 1)
            print(f"\n{contender.name}")
            for scenario in SCENARIOS:
                sent = commands(contender, client, scenario.work, planted[scenario.cookie][0])
                print(f"  {scenario.name:<4}{len(sent)}  {' '.join(sent)}")
            contender.close()
    client.close()


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        raise SystemExit(f"{error}: pip install -r bench/requirements.txt") from error
