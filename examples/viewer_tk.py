"""A window with a pane for each agent of a run, with Tk:  python viewer_tk.py [RUN] [DATA_DIR]"""

import sys
import tkinter
from tkinter.scrolledtext import ScrolledText

import felixhub


def window(run="latest", hub=None):
    root, events, panes = tkinter.Tk(), felixhub.subscribe(run, hub=hub), {}
    root.title(f"FelixHub: {run}")

    def look():
        for event in events.poll(0.0):  # what has come, without waiting: the window stays alive
            if isinstance(event, Exception):  # another log lies there now, or there is no such run
                root.title(f"FelixHub: {event}")
                while panes:
                    panes.popitem()[1].master.master.destroy()
            elif event.kind == "thought.partial" and event.channel == "text":
                if event.agent not in panes:
                    box = tkinter.LabelFrame(root, text=event.agent)
                    box.pack(side="left", fill="both", expand=True)
                    panes[event.agent] = ScrolledText(box, width=30, height=30, wrap="word")
                    panes[event.agent].pack(fill="both", expand=True)
                text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in event.text)  # never obeyed
                panes[event.agent].insert("end", text if event.offset else f"\n▸ {text}")  # each thought begins anew
                panes[event.agent].see("end")
            elif event.kind in ("run.finished", "run.failed", "run.cancelled"):
                root.title(f"FelixHub: {event.run} {event.kind.removeprefix('run.')}")
        root.after(50, look)

    root.after(0, look)
    return root


if __name__ == "__main__":
    window(*sys.argv[1:]).mainloop()
