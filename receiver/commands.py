"""The commands that write: what each does to the state, and its line in the audit. Knows no socket and no terminal."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from receiver.errors import UsageError
from receiver.model import Decision, DecisionKind, Role, Selection
from receiver.store.sqlite import State

Command: TypeAlias = Callable[..., Any]
"""Called with the State and the command's arguments, which come from JSON."""

_LEFT_OUT: Final = "_hash"
"""How the names of arguments end that have no place in an audit."""


def decision_of(arguments: Mapping[str, Any], *, actor: str, now_us: int) -> Decision:
    """What `decide` is asked for: `kind`, `reason`, and a `selection` of at least one condition.

    Raises:
        UsageError: it is none.
    """
    conditions = {name: value for name, value in dict(arguments.get("selection", {})).items() if value is not None}
    if not conditions:
        raise UsageError("a decision must say which deliveries it is about")
    if "seqs" in conditions:
        conditions["seqs"] = tuple(conditions["seqs"])
    try:
        kind, reason = DecisionKind(arguments["kind"]), str(arguments["reason"])
        if "seqs" not in conditions:
            # Whatever comes later was not looked at when this was decided.
            conditions.setdefault("received_to_us", now_us)
        selection = Selection(**conditions)
    except (KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"not a decision: {exc}") from None
    return Decision(decided_us=now_us, kind=kind, selection=selection, reason=reason, decided_by=actor)


def _token_create(state: State, *, roles: list[str], **arguments: Any) -> None:
    state.token_create(roles=_roles(roles), **arguments)


def _signin_code_create(state: State, *, roles: list[str], **arguments: Any) -> None:
    state.signin_code_create(roles=_roles(roles), **arguments)


def _roles(names: list[str]) -> list[Role]:
    known = {role.value for role in Role}
    for name in names:
        if name not in known:
            raise UsageError(f"no such role: {name}; known: {', '.join(sorted(known))}")
    return [Role(name) for name in names]


def _files_changed(state: State, *, carrier: str, files: list[str]) -> None:
    """The trust files of a carrier were changed beside the store: all there is to do is to record it."""
    del state, carrier, files


QUESTIONS: Final[Mapping[str, Command]] = {
    "token_list": State.token_list,
    "app_list": State.app_list,
    "pin_list": State.pin_list,
    "block_list": State.block_list,
}
"""Commands that change nothing."""

CHANGES: Final[Mapping[str, Command]] = {
    "token_create": _token_create,
    "token_revoke": State.token_revoke,
    "signin_code_create": _signin_code_create,
    "app_add": State.app_add,
    "app_declare": State.app_declare,
    "app_rotate": State.app_rotate,
    "app_drop_old_key": State.app_drop_old_key,
    "app_callers": State.app_callers,
    "app_remove": State.app_remove,
    "pin_add": State.pin_add,
    "pin_remove": State.pin_remove,
    "block_add": State.block_add,
    "block_remove": State.block_remove,
    "trust_install": _files_changed,
    "trust_remove": _files_changed,
    "quarantine_dismiss": State.quarantine_dismiss,
}
"""Commands that change something, and are audited."""

DECIDE: Final = "decide"
"""Writes a decision into the journal; its result is the decision's cursor."""


def perform(state: State, command: str, arguments: Mapping[str, Any], *, actor: str, now_us: int) -> Any:
    """Carry a command out and audit it, as part of a transaction that is open.

    Raises:
        UsageError: there is no such command, or it cannot be carried out with these arguments.
    """
    if command in QUESTIONS:
        return _run(QUESTIONS[command], state, arguments)
    if command == DECIDE:
        result: Any = state.decide(decision_of(arguments, actor=actor, now_us=now_us)).seq
    elif command in CHANGES:
        result = _run(CHANGES[command], state, arguments)
    else:
        raise UsageError(f"{command} can only be carried out while the receiver serves")
    audit(state, command, arguments, actor=actor, now_us=now_us)
    return result


def audit(state: State, command: str, arguments: Mapping[str, Any], *, actor: str, now_us: int) -> None:
    """Record a command; hashes of secrets are left out."""
    detail = {name: value for name, value in arguments.items() if not name.endswith(_LEFT_OUT)}
    state.audit_append(at_us=now_us, actor=actor, action=command, detail=detail)


def _run(function: Command, state: State, arguments: Mapping[str, Any]) -> Any:
    try:
        return function(state, **arguments)
    except TypeError as exc:
        raise UsageError(f"wrong arguments: {exc}") from None


def actor_of(uid: int) -> str:
    """Who gave a command on this machine, for the audit."""
    return f"uid {uid}"
