"""Calls a library instead of a model: every figure in the documents, and what they come to."""

import asyncio
import re
import statistics

ROLE = "analysis"


def summary(text):
    """Anything that takes long or blocks belongs in a function like this one."""
    figures = [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]
    if not figures:
        return "no figures"
    middle = statistics.median(figures)
    return f"{len(figures)} figures from {min(figures):,g} to {max(figures):,g}, median {middle:,g}"


async def think(request):
    for document in request.documents:
        yield f"{document.name}: "
        yield await asyncio.to_thread(summary, document.text)  # the worker goes on meanwhile
        yield "\n"
    if not request.documents:
        yield "There is no document to count in.\n"
