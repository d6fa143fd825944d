"""For tests of your own viewer or agent: a real hub in a temporary directory, and agents that say what you give them.

    from felixhub.testing import FAIL, Script, a_hub

    with a_hub() as hub:
        run = hub.run(critic=[Script("Half of ", FAIL), Script("All of it.")])
        result = run.wait(timeout_s=60.0)

Nothing here is a mock: the hub and the workers are processes, as with `felixhub up`, and no model is asked. For pytest,
`pytest_plugins = ["felixhub.testing.plugin"]` in your conftest.py gives a fixture `felix_hub`.

Owns: the public names. Must not: be imported by anything that is not a test.
"""

from felixhub.testing.hub import DidNotHappen, HubForTests, a_hub
from felixhub.testing.script import FAIL, HOLD, Fail, Script, Think

__all__ = ["FAIL", "HOLD", "DidNotHappen", "Fail", "HubForTests", "Script", "Think", "a_hub"]
