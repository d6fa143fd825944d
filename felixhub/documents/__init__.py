"""Documents: files that go into a run as text with places to cite, and results that go out as pages.

Owns: the foreign formats (HTML, PDF), cutting long text up and finding passages in it, and the look of what is
exported. Must not: change a run, or talk to a hub.
"""
