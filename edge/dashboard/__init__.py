"""The page of an edge node: what happens on the whole broker, live, in a browser.

    MQTT -> board (and its parts: figures, places, troubles, lines) -> hub -> one queue per browser

`board` and what it holds are pure; `server` has the only thread, with an event loop of its own.
"""
