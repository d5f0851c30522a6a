"""Progress on stderr: a bar, log lines or JSON lines.

It may import core, events and threads. Rich is loaded when the first bar is drawn, and not before.

- display: `make_progress` chooses how progress is shown; a thread of its own draws it.
- renderers, bar: `Renderer` turns events and snapshots into text: log lines, JSON lines, and the bar with its colours.
- lines: the texts and numbers in them: amounts, speed, time left, the cells of the map.
- terminal: writing to stderr, and the size of its window.

Words: to *tick* is to show the present state, to *clear* is to remove what is drawn; the *picture* is what the bar has
drawn last, a *cell* one character of the map.
"""
