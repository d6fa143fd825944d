"""Runs a command-line program: the lines of the documents that hold a word of the task, with their numbers."""

import asyncio
import contextlib
import re
import tempfile

ROLE = "research"


async def think(request):
    words = sorted(set(re.findall(r"\w{5,}", request.task.lower())))
    for document in request.documents if words else ():
        with tempfile.TemporaryFile() as text:
            text.write(document.text.encode())
            text.seek(0)
            options = ["--ignore-case", "--word-regexp", "--line-number", *(f"--regexp={word}" for word in words)]
            process = await asyncio.create_subprocess_exec("grep", *options, stdin=text, stdout=asyncio.subprocess.PIPE)
            try:
                yield f"{document.name}:\n"
                async for line in process.stdout:  # as they come
                    yield line.decode(errors="replace")
            finally:  # also when this thought is cancelled
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    yield f"Looked for: {', '.join(words)}.\n"
