"""Says what time it is, so that a team of models knows how old its knowledge is."""

from datetime import datetime

ROLE = "research"


async def think(request):
    now = datetime.now().astimezone()
    yield f"It is {now:%H:%M} on {now:%A, %d %B %Y} ({now:%Z}), "
    yield f"week {now:%V} of the year. The task has {len(request.task.split())} words."
