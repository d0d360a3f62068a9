"""The steps of the machine, in any order: overlapping requests, logins, expiry and failures. See ``model.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.fuzz.held import Action, Answer, Held, Trouble, dispatch
from tests.fuzz.model import ABSOLUTE, GRACE, IDLE, INTERVAL, TOMBSTONE, Request, World
from tests.fuzz.processes import Processes
from tests.fuzz.sealed_model import SealedWorld
from tests.fuzz.steps import (
    BEGINS,
    REAL,
    Disturbed,
    Follow,
    Model,
    Step,
    acts,
    begins_to_revoke,
    commits,
    lists,
    log_in,
    looks,
    opens,
    or_unavailable,
    revokes,
    worlds_after,
)
from tests.fuzz.visits import Broken
from tests.support.site import SECRET
from wsgi_session import Session, SessionMiddleware
from wsgi_session.admin import Sessions
from wsgi_session.stores import Store
from wsgi_session.testing import read
from wsgi_session.testing.clock import FakeClock

BROWSERS = 2
USERS = 2
#: Number of tokens that are tried after every step: the newest ones.
TRIED = 12
# The number of each run of the machine, so that its users differ from those of other runs: all share one store.
_runs = count(1)
_values = count(1_000_000)

#: A login's own idle timeout, if it has one.
SHORT = 300.0
#: An application's actions, with their arguments.
WRITES = st.tuples(st.sampled_from(["put", "put_again", "there_and_back", "default", "delete"]), st.sampled_from("ab"))
ACTIONS = st.one_of(
    st.tuples(st.just("read")),
    WRITES,
    st.sampled_from([("append",), ("append_and_back",), ("add",), ("flash",), ("flashes",), ("clear",)]),
    st.sampled_from([("csrf",), ("no_touch",), ("rotate",)]),
    st.tuples(st.just("log_in"), st.integers(0, USERS - 1), st.sampled_from([None, SHORT])),
    st.sampled_from([("log_out",), ("revoke_others",)]),
)
#: Actions that get a new value each time.
VALUED = {"put", "there_and_back", "default", "append", "append_and_back", "flash"}
FEW = st.lists(ACTIONS, min_size=1, max_size=2)
#: Actions of two requests on the same keys.
WRITING = st.lists(WRITES, min_size=1, max_size=3)
#: Actions that should collide more often than by chance.
ENDING, MOVING = st.just([("log_out",)]), st.just([("rotate",)])
COUNTING, READING = st.just([("add",)]), st.just([("read",)])
#: A login that also writes to its session, for example that a second factor is still due.
MARKING = st.permutations([("put_again", "a"), ("default", "b"), ("log_in", 0, None), ("add",)])
#: How a request ends: with an answer, with an error, or with an exception.
CODES = st.sampled_from([200, 200, 200, 500, 0])
TROUBLE = st.none() | st.builds(
    Trouble, st.integers(0, 2), st.sampled_from(["refused", "lost", "applied"]), st.sampled_from([1, 1, 2, 99])
)
#: Other requests run at one of the store calls of a step; that call may fail as well.
MEANWHILE = st.builds(
    Trouble,
    st.sampled_from([0, 0, 1, 1, 2, 3, 4, 6, 8]),
    st.sampled_from(["", "", "lost", "applied"]),
    st.just(1),
    st.just(True),
)
PLACES = st.integers(0, BROWSERS - 1)
NAMES = st.integers(0, USERS - 1)
#: Which of the running kinds of process gets a request.
PROCESSES = st.integers(0, 1)
#: The number of finished deployments: most runs begin at one where two kinds of process run beside each other.
DEPLOYMENTS = st.sampled_from([0, 1, 1, 2, 3, 3, 3, 4, 5, 5, 6])
MOMENTS = st.sampled_from([1.0, TOMBSTONE - 1, TOMBSTONE + 1, INTERVAL, SHORT, IDLE / 2, IDLE - 1, GRACE])
#: How long a slow request takes: to the end of its session, a little longer, or until the session is over for it.
PAST = [IDLE, IDLE + TOMBSTONE + 1, IDLE + GRACE - 1, IDLE + GRACE]
LONG = st.sampled_from([SHORT, IDLE - 1, *PAST, ABSOLUTE - 1, ABSOLUTE])


class Machine(RuleBasedStateMachine):
    """One site. Subclasses choose the stores: see ``machine.py``."""

    start_processes: Callable[[], Processes]
    #: Called at the end of a run, with its number of steps.
    tell: Callable[[int], None] | None = None
    stateless = False
    requests: Bundle[int] = Bundle("requests")
    answers: Bundle[Any] = Bundle("answers")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.processes = type(self).start_processes()
        self.middlewares = [self._middleware(store) for store in self.processes.stores]
        self.deployed = 0
        self.worlds: list[World] = [(SealedWorld if self.stateless else World)(self.clock())]
        self.jars: list[str | None] = [None] * BROWSERS
        #: The requests under way, each with its kind of process.
        self.held: dict[int, tuple[Held, int]] = {}
        self.tokens: dict[str, None] = {}
        run = next(_runs)
        self.users = [run * 10 + number for number in range(USERS)]
        self.steps = 0
        self._numbers = count(1)

    def _middleware(self, store: Store) -> SessionMiddleware:
        return SessionMiddleware(
            dispatch,
            secret=SECRET,
            store=store,
            clock=self.clock,
            idle_timeout=IDLE,
            absolute_timeout=ABSOLUTE,
            touch_interval=INTERVAL,
        )

    def teardown(self) -> None:
        for held, _ in self.held.values():
            held.finish(0)
        if self.tell is not None:
            self.tell(self.steps)

    # The steps.

    @initialize(actions=st.tuples(*[FEW] * BROWSERS), user=st.none() | NAMES, deployments=DEPLOYMENTS)
    def begin(self, actions: tuple[list[Any], ...], user: int | None, deployments: int) -> None:
        """Give every browser a session, so that requests meet in one."""
        for browser, its in enumerate(actions):
            self.visit(browser, [("put", "a"), *([] if user is None else [("log_in", user, None)]), *its])
        while self.deployed < min(deployments, len(self.processes.deployments) - 1):
            self.deploy()

    @rule(target=requests, browser=PLACES, process=PROCESSES)
    def open(self, browser: int, process: int) -> int:
        """Begin a request of a browser, with its current cookie."""
        return self._open(self.jars[browser], process)

    @rule(number=requests, action=ACTIONS, trouble=TROUBLE)
    def act(self, number: int, action: tuple[Any, ...], trouble: Trouble | None) -> None:
        for step in self._act(number, action):
            self._perform(step, trouble)

    @rule(target=answers, number=requests, code=CODES, trouble=TROUBLE, browser=PLACES)
    def commit(self, number: int, code: int, trouble: Trouble | None, browser: int) -> Any:
        return browser, self._commit(number, code, trouble)

    @rule(answer=answers)
    def arrive(self, answer: Any) -> None:
        """Deliver an answer to its browser, in any order: some never arrive, and some arrive twice."""
        browser, cookie = answer
        if cookie is not None:
            self.jars[browser] = cookie or None

    @rule(browser=PLACES, actions=FEW, process=PROCESSES)
    def visit(self, browser: int, actions: list[tuple[Any, ...]], process: int = 0) -> None:
        """Make a whole request without interruption."""
        number = self._open(self.jars[browser], process)
        self._act_all(number, actions)
        self.arrive((browser, self._commit(number, 200)))

    @rule(
        browser=PLACES,
        first=FEW | WRITING | MARKING,
        second=st.none() | FEW | WRITING,
        trouble=TROUBLE,
        swapped=st.booleans(),
    )
    def overlap(
        self, browser: int, first: list[Any], second: list[Any] | None, trouble: Trouble | None, swapped: bool
    ) -> None:
        """Make two requests of one browser that both load the session before either saves it.

        Without ``second``, both do the same.
        """
        numbers = self._open_both(browser, int(swapped))
        self._act_all(numbers[0], first)
        self._act_all(numbers[1], first if second is None else second)
        cookies = [self._commit(numbers[0], 200), self._commit(numbers[1], 200, trouble)]
        for cookie in reversed(cookies) if swapped else cookies:
            self.arrive((browser, cookie))

    @rule(
        browser=PLACES,
        waited=st.sampled_from([0.0, 0.0, INTERVAL]),
        first=FEW | ENDING,
        second=FEW | MOVING | COUNTING,
        meanwhile=MEANWHILE,
        saving=st.booleans(),
    )
    def collide(
        self, browser: int, waited: float, first: list[Any], second: list[Any], meanwhile: Trouble, saving: bool
    ) -> None:
        """Make two such requests, of which the second saves while the first saves or does its last action."""
        self.wait(waited)
        numbers = self._open_both(browser, int(saving))
        self._act_all(numbers[1], second)
        self._act_all(numbers[0], first if saving else first[:-1])
        if not saving:
            for step in self._act(numbers[0], first[-1]):
                self._perform(step, meanwhile, self._finishes(numbers[1]))
        elif numbers[0] in self.held:
            self._perform(self._finish(numbers[0], 200), meanwhile, self._finishes(numbers[1]))
        for number in numbers:
            self.arrive((browser, self._commit(number, 200)))

    @rule(
        browser=PLACES,
        first=FEW | MOVING | MARKING | ENDING,
        second=FEW,
        meanwhile=MEANWHILE,
        process=PROCESSES,
        saving=st.booleans(),
        afresh=st.booleans(),
    )
    def come_in(
        self,
        browser: int,
        first: list[Any],
        second: list[Any],
        meanwhile: Trouble,
        process: int,
        saving: bool,
        afresh: bool,
    ) -> None:
        """Let a request load the session while another one saves, or let the other one save while it loads.

        ``afresh``: with a new session, in the store where a process of that kind creates it.
        """
        if afresh:
            self.jars[browser] = None
            self.visit(browser, [("put", "a")], process)
        numbers = [self._open(self.jars[browser], place) for place in (process, 1 - process)]
        self._act_all(numbers[0], first)
        looks = self._act(numbers[1], ("read",))
        if not saving:
            self._perform(next(looks), meanwhile, self._finishes(numbers[0]))
        elif numbers[0] in self.held:
            self._perform(self._finish(numbers[0], 200), meanwhile, looks)
        self._act_all(numbers[1], second)
        for number in numbers:
            self.arrive((browser, self._commit(number, 200)))

    @rule(browser=PLACES, actions=FEW, user=NAMES, meanwhile=MEANWHILE)
    def revoke_all_and_collide(self, browser: int, actions: list[Any], user: int, meanwhile: Trouble) -> None:
        """Let a request save while all sessions of a user are being ended."""
        if not self.stateless:
            number = self._open(self.jars[browser], 1)
            self._act_all(number, actions)
            self._perform(self._revoke_all(user), meanwhile, self._finishes(number))
            self.arrive((browser, self._commit(number, 200)))

    @rule(
        browser=PLACES,
        stays=st.sampled_from([0, 0, 2, 8]),
        first=FEW | COUNTING,
        seconds=LONG,
        then=st.none() | FEW | NAMES | MOVING | ENDING,
        more=st.just(0.0) | LONG,
        second=FEW | MOVING | READING,
        code=CODES,
    )
    def outlast(
        self,
        browser: int,
        stays: int,
        first: list[Any],
        seconds: float,
        then: list[Any] | int | None,
        more: float,
        second: list[Any],
        code: int,
    ) -> None:
        """Make a request that takes as long as the session lives, or longer. When the session may have ended, finish
        another request, make a new one, or revoke the user's sessions."""
        self.stay(browser, stays)
        numbers = self._open_both(browser)
        self._act_all(numbers[0], first)
        self.wait(seconds)
        if isinstance(then, int):
            self.revoke_all(then, None)
        elif then is not None and code == 200:
            self.visit(browser, then)
        elif then is not None:
            self._act_all(numbers[1], then)
            self.arrive((browser, self._commit(numbers[1], 200)))
        self.wait(more)
        late = self._open(self.jars[browser], 0)
        self._act_all(numbers[0], second)
        self.arrive((browser, self._commit(numbers[0], code)))
        self._act_all(late, [("read",)])
        self.arrive((browser, self._commit(late, 200)))

    @rule(browser=PLACES, times=st.integers(1, 10))
    def stay(self, browser: int, times: int) -> None:
        """Visit again and again before the session expires, which keeps it alive up to a limit."""
        for _ in range(times):
            self.wait(IDLE / 2)
            self.visit(browser, [("read",)])

    @precondition(lambda self: self.deployed < len(self.processes.deployments) - 1)
    @rule()
    def deploy(self) -> None:
        """Make the next deployment. Processes that end finish their requests first."""
        before, after = (self.processes.deployments[place][0] for place in (self.deployed, self.deployed + 1))
        for number in [number for number, (_, kind) in self.held.items() if kind in {*before} - {*after}]:
            self._commit(number, 200)
        if after[-1] == len(self.middlewares) - 1 > before[-1]:
            self.processes.move_the_rest(self.clock())
            self.wait(TOMBSTONE)
        self.deployed += 1

    @rule(thief=PLACES, browser=PLACES)
    def copy(self, thief: int, browser: int) -> None:
        self.jars[thief] = self.jars[browser]

    @rule(seconds=MOMENTS)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for world in self.worlds:
            world.now += seconds

    @rule(user=NAMES, trouble=TROUBLE)
    def revoke_all(self, user: int, trouble: Trouble | None) -> None:
        if not self.stateless:
            self._perform(self._revoke_all(user), trouble)

    @rule(user=NAMES, place=st.integers(0, 3), trouble=TROUBLE)
    def revoke_one(self, user: int, place: int, trouble: Trouble | None) -> None:
        # Use the model's order, because handles are random.
        there = [one.handle for one in self.worlds[0].sessions.values() if one.user == self.users[user]]
        handles = [] if self.stateless else [handle for handle in there if handle in self._handles(user)]
        if handles:
            self._perform(self._revoke(user, handles[place % len(handles)]), trouble)

    @rule(number=requests, meanwhile=MEANWHILE, other=requests, action=ACTIONS)
    def commit_meanwhile(self, number: int, meanwhile: Trouble, other: int, action: tuple[Any, ...]) -> None:
        """Let any other request act while one request saves."""
        if number != other and number in self.held:
            self._perform(self._finish(number, 200), meanwhile, list(self._act(other, action)))

    # The invariants after every step.

    @invariant()
    def every_token_opens_its_own_session_and_no_other(self) -> None:
        tokens = list(self.tokens)[-TRIED:]
        self._perform(Step("look", lambda: [read(self._watch(), f"sid={token}") for token in tokens], opens(tokens)))

    @invariant()
    def every_users_list_has_exactly_their_sessions(self) -> None:
        if not self.stateless:
            users = self.users
            self._perform(Step("list", lambda: [self._handles(place) for place in range(USERS)], lists(users)))

    # How the steps are made.

    def _open(self, cookie: str | None, process: int) -> int:
        number = next(self._numbers)
        kind = self._kind(process)
        self.held[number] = Held(self.middlewares[kind], cookie), kind
        for world in self.worlds:
            world.requests[number] = Request(cookie, cookie is not None)
        return number

    def _act(self, number: int, action: tuple[Any, ...]) -> Iterator[Step]:
        """Yield the load of the session, if it is due, and the action. Each happens in one moment."""
        if number in self.held and self._unlooked(number):
            yield self._step(number, "look", lambda session: session.state, looks(number))
        if number in self.held and not (self.stateless and action[0] in ("add", "revoke_others")):
            name, *given = action
            real, model = self._action(name, given)
            yield self._step(number, f"{name} {given}", real, acts(number, model))

    def _unlooked(self, number: int) -> bool:
        return any(world.requests[number].state == "not looked" for world in self.worlds)

    def _step(self, number: int, what: str, action: Action, follow: Follow) -> Step:
        def run() -> Any:
            seen = self.held[number][0].do(action)
            if isinstance(seen, Answer):
                # The store failed, which ended the request.
                del self.held[number]
                self._note(seen)
            return seen

        return Step(f"request {number}: {what}", run, follow)

    def _finish(self, number: int, code: int) -> Step:
        def run() -> Answer:
            answer = self.held.pop(number)[0].finish(code)
            self._note(answer)
            return answer

        return Step(f"request {number}: answers {code}", run, commits(number, code))

    def _note(self, answer: Answer) -> None:
        if answer.cookie:
            self.tokens[answer.cookie] = None

    def _act_all(self, number: int, actions: list[tuple[Any, ...]]) -> None:
        for action in actions:
            for step in self._act(number, action):
                self._perform(step)

    def _commit(self, number: int, code: int, trouble: Trouble | None = None) -> str | None:
        """End a request, unless a failure of the store has ended it. Return the cookie of its answer."""
        if number not in self.held:
            return None
        answer: Answer = self._perform(self._finish(number, code), trouble)
        return answer.cookie

    def _finishes(self, number: int) -> list[Step]:
        return [self._finish(number, 200)] if number in self.held else []

    def _open_both(self, browser: int, first: int = 0) -> list[int]:
        numbers = [self._open(self.jars[browser], process) for process in (first, 1 - first)]
        for number in numbers:
            self._act_all(number, [("read",)])
        return numbers

    def _revoke_all(self, user: int) -> Step:
        owner = self.users[user]

        def chosen(world: World) -> list[str]:
            return world.sessions_of(owner, set())

        run = or_unavailable(lambda: self._sessions().revoke_all(f"id:{owner}"))
        return Step(f"revoke_all {owner}", run, revokes(chosen, len), begins_to_revoke(chosen))

    def _revoke(self, user: int, handle: str) -> Step:
        owner = self.users[user]

        def chosen(world: World) -> list[str]:
            return [token for token in world.sessions_of(owner, set()) if world.sessions[token].handle == handle]

        run = or_unavailable(lambda: self._sessions().revoke(f"id:{owner}", handle))
        return Step(f"revoke {owner} {handle}", run, revokes(chosen, bool))

    def _handles(self, user: int) -> set[str]:
        return {info.handle for info in self._watch().sessions.of(f"id:{self.users[user]}")}

    def _kind(self, process: int) -> int:
        running, _ = self.processes.deployments[self.deployed]
        return running[process % len(running)]

    def _watch(self) -> SessionMiddleware:
        """Return the middleware through which the machine looks at the stored sessions."""
        return self.middlewares[self.processes.deployments[self.deployed][1]]

    def _sessions(self) -> Sessions:
        """Return the administrator's view of the sessions, from the two kinds of process in turn."""
        return self.middlewares[self._kind(self.steps)].sessions

    def _action(self, name: str, given: list[Any]) -> tuple[Action, Model]:
        """Return an action for the application's session, and the same for the model."""
        if name == "log_in":
            user, idle = self.users[given[0]], given[1]
            return log_in(user, idle), lambda world, request, seen: world.log_in(request, user, idle, seen)
        if name == "revoke_others":
            return self._revoke_others, lambda world, request, seen: world.revoke_others(request)
        if name in VALUED:
            given = [*given, next(_values)]
        return (lambda session: REAL[name](session, *given)), lambda world, request, seen: getattr(world, name)(
            request, *given
        )

    def _revoke_others(self, session: Session) -> int | None:
        return None if session.owner is None else self._sessions().revoke_all(session.owner, keep=session)

    def _perform(self, step: Step, trouble: Trouble | None = None, others: Iterable[Step] = ()) -> Any:
        """Do a step, with the trouble and the other steps meanwhile. Keep the worlds that agree with what was seen."""
        self.steps += 1
        came_in: list[tuple[Step, Any]] = []
        if trouble is not None and not self.stateless:
            self.processes.troubles.expect(trouble, lambda: came_in.extend([(other, other.run()) for other in others]))
        try:
            seen = step.run()
        finally:
            self.processes.troubles.calm()
        # The other steps ran in their order, and this step before, between or after them.
        orders = [[*came_in[:place], (step, seen), *came_in[place:]] for place in range(len(came_in) + 1)]
        if came_in and step.begins:
            orders.append([(step, BEGINS), *came_in, (step, seen)])
        disturbed = Disturbed(failed=trouble is not None and bool(trouble.failure), others=bool(came_in))
        worlds = worlds_after(self.worlds, orders, disturbed)
        if not worlds:
            raise Broken(_describe(self.worlds, [*came_in, (step, seen)], trouble))
        self.worlds = worlds
        return seen


def _describe(worlds: list[World], steps: list[tuple[Step, Any]], trouble: Trouble | None) -> str:
    seen = "\n".join(f"  {step.what}: {what}" for step, what in steps)
    return f"seen, with {trouble}:\n{seen}\nwhich agrees with none of:\n" + "\n".join(map(repr, worlds))
