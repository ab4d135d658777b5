"""Full numbers and raw bodies: shown to the role `reveal` alone, and only after it is on disk who saw what."""

from receiver.model import Role
from receiver.web.desk import Ask


async def reveals(ask: Ask, *, what: str, count: int) -> bool:
    """Whether the caller may see what others see masked; if so, and there is anything, that is recorded first."""
    if not ask.caller.may(Role.REVEAL):
        return False
    if count:
        at_us, actor, detail = ask.desk.now_us(), ask.caller.name, {"what": what, "count": count}
        await ask.desk.write(lambda state: state.audit_append(at_us=at_us, actor=actor, action="reveal", detail=detail))
    return True
